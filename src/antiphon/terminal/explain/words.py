"""Words of `--explain`: what each kind of frame means, and who may send it when."""

from antiphon.language import N_
from antiphon.wire.kinds import Kind, Phase, Side

MEANINGS: dict[tuple[Side, Kind], str] = {
    (Side.CLIENT, Kind.IDENTIFY): N_("The client gives a name, or asks whether it is known."),
    (Side.CLIENT, Kind.REGISTER): N_(
        "The client registers: it sends a verifier made from the password, never the password itself."
    ),
    (Side.CLIENT, Kind.AUTHENTICATE): N_(
        "The sign-in begins (SCRAM, step 1 of 4): the name, and a random number of the client's."
    ),
    (Side.CLIENT, Kind.CHALLENGE): N_(
        "The client proves that it knows the password (step 3 of 4), without sending it."
    ),
    (Side.CLIENT, Kind.RESUME): N_(
        "The client resumes its session on this connection: the token, and how many frames it has received."
    ),
    (Side.CLIENT, Kind.MESSAGE): N_("A message to the service; its answers carry the same id."),
    (Side.CLIENT, Kind.CANCEL): N_("The client wants no more answers to this id."),
    (Side.CLIENT, Kind.ACK): N_(
        "The client says how many frames of the session it has received: the server need not keep them any longer."
    ),
    (Side.CLIENT, Kind.PASSWORD): N_(
        "A step of a password change: first the old password is proved, then the new one is stored."
    ),
    (Side.CLIENT, Kind.END_OTHERS): N_("The client has all other sessions of the account ended."),
    (Side.CLIENT, Kind.HEARTBEAT): N_("Nothing else was sent for a while: the client is still there."),
    (Side.CLIENT, Kind.BYE): N_("The client says goodbye: this is its last frame."),
    (Side.SERVER, Kind.HELLO): N_(
        "The server's first frame on each connection: what it speaks, and what it wants."
    ),
    (Side.SERVER, Kind.IDENTIFY): N_(
        "The answer to IDENTIFY: how the name is spelled, whether it is free or known."
    ),
    (Side.SERVER, Kind.REGISTER): N_("The answer to REGISTER: the account exists now."),
    (Side.SERVER, Kind.CHALLENGE): N_(
        "The server's challenge (step 2 of 4): how the password was hashed, and a random number of its own."
    ),
    (Side.SERVER, Kind.WELCOME): N_(
        "The session is open. After a sign-in this holds the server's own proof (step 4 of 4), and the token."
    ),
    (Side.SERVER, Kind.MESSAGE): N_("An answer, but not the last one for this id."),
    (Side.SERVER, Kind.END): N_("Nothing more comes for this id."),
    (Side.SERVER, Kind.PASSWORD): N_("The answer to a step of the password change."),
    (Side.SERVER, Kind.END_OTHERS): N_("The other sessions of the account have ended: how many there were."),
    (Side.SERVER, Kind.ERROR): N_("A refusal: nothing more comes for this id; the connection stays open."),
    (Side.SERVER, Kind.HEARTBEAT): N_("Nothing else was sent for a while: the server is still there."),
    (Side.SERVER, Kind.BYE): N_("The server says goodbye: this is its last frame."),
}
"""What each kind of frame means."""
SHORT: dict[tuple[Side, Kind], str] = {
    (Side.CLIENT, Kind.IDENTIFY): N_("a name: is it known?"),
    (Side.CLIENT, Kind.REGISTER): N_("a new account"),
    (Side.CLIENT, Kind.AUTHENTICATE): N_("sign-in, step 1 of 4"),
    (Side.CLIENT, Kind.CHALLENGE): N_("proof of the password, step 3 of 4"),
    (Side.CLIENT, Kind.RESUME): N_("the session goes on here"),
    (Side.CLIENT, Kind.CANCEL): N_("no more answers, please"),
    (Side.CLIENT, Kind.PASSWORD): N_("password change"),
    (Side.CLIENT, Kind.END_OTHERS): N_("end my other sessions"),
    (Side.CLIENT, Kind.HEARTBEAT): N_("still there"),
    (Side.SERVER, Kind.HELLO): N_("what the server speaks and wants"),
    (Side.SERVER, Kind.IDENTIFY): N_("about the name"),
    (Side.SERVER, Kind.REGISTER): N_("the account exists"),
    (Side.SERVER, Kind.CHALLENGE): N_("challenge, step 2 of 4"),
    (Side.SERVER, Kind.WELCOME): N_("the session is open"),
    (Side.SERVER, Kind.END): N_("no more answers"),
    (Side.SERVER, Kind.PASSWORD): N_("about the new password"),
    (Side.SERVER, Kind.END_OTHERS): N_("other sessions have ended"),
    (Side.SERVER, Kind.HEARTBEAT): N_("still there"),
}
"""What each kind of frame means, in a few words. The other kinds show what they hold instead."""
WRONG_TOKEN = N_("wrong token")
BYTES = N_("bytes: {count}")
PUSH = N_("A push: the service sends it by itself; id 0 answers no message.")
ANSWER = N_("An answer, the last one for this id.")
FATAL = N_("A refusal with id 0: it ends the connection.")
UNKNOWN = N_("A kind that this client does not know.")

RULE = N_("{side} may send it {phase}, {token}.")
SIDES = {Side.CLIENT: N_("The client"), Side.SERVER: N_("The server")}
PHASES = {
    (Phase.SIGN_IN,): N_("before the session is open"),
    (Phase.SESSION,): N_("inside a session"),
    (Phase.SIGN_IN, Phase.SESSION): N_("at any time"),
}
WITH_TOKEN = N_("with the session's token in front")
WITHOUT_TOKEN = N_("without a token")
