"""Service of the model of topics: a session subscribes to all topics, and publishes what its messages say."""

from antiphon import Session

TOPICS = ("few", "many", "large")
PIECE = 20_000
"""Characters that a message of the topic `large` has beside its name, so that a few dozen are all that is kept."""


class Room:
    """A message is `topic name:number`; it becomes a push `topic name:number` to everybody."""

    async def opened(self, session: Session) -> None:
        """Subscribe, and say so then: what is published before that is not heard."""
        for topic in TOPICS:
            await session.subscribe(topic)
        session.send("opened .")

    async def received(self, message: str, session: Session) -> str:
        """Publish."""
        topic, text = message.split(" ")
        await session.publish(topic, text + "." * PIECE if topic == "large" else text)
        return "taken"

    def published(self, topic: str, message: str, session: Session) -> str:
        """Say what was published, without what makes it large."""
        return f"{topic} {message.rstrip('.')}"

    def missed(self, topic: str, session: Session) -> str:
        """Say that something is missing."""
        return f"{topic} !"


ROOM = Room()
