"""The part of a server that a service publishes with; the server has it, and what stands in for one in tests."""

from antiphon.server.topics.topics import Topics
from antiphon.services import Session
from antiphon.topics import Subscriber


class PublishingServer:
    """What `services.ServiceServer` says of topics. Precondition of each method: the server is open."""

    _topics: Topics

    async def publish(self, topic: str, message: object) -> None:
        """Publish a message to all sessions that are subscribed to a topic."""
        await self._topics.publish(topic, message)

    async def send_to(self, account: int, message: object) -> None:
        """Push a message to all sessions of an account."""
        await self._topics.send_to(account, message)

    async def present(self, topic: str) -> list[Subscriber]:
        """Return who is subscribed to a topic: an entry for each session, in the order of the subscriptions."""
        return await self._topics.present(topic)

    async def topics(self, prefix: str = "") -> list[str]:
        """Return the topics that have subscribers and whose names begin with `prefix`."""
        return await self._topics.topics(prefix)

    def sessions(self) -> list[Session]:
        """Return the sessions whose home is this process; with workers each has its own."""
        return self._topics.sessions()

    async def disconnect(self, whom: Session | int, reason: str = "") -> None:
        """End a session of this process, or all sessions of an account wherever they are."""
        await self._topics.disconnect(whom, reason)
