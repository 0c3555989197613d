"""The tree of errors: each class has a code for programs, a sentence for people and advice on what to do next.

::

    AntiphonError
    ├── UsageError                the command cannot be carried out as given           exit 2
    │   ├── SettingInvalid, InputMissing
    │   ├── AddressInvalid, PortInvalid, NameInvalid, NameAmbiguous, PasswordInvalid
    │   ├── AccountUnknown, AccountExists, SessionUnknown
    │   ├── ExposureRefused, and AnyoneRefused below it
    │   ├── TopicInvalid, TopicsFull
    │   ├── StoreUnusable, StoreTaken, RowInvalid, FileUnusable, ImportRefused
    │   ├── DatabaseUnusable
    │   │   ├── DatabaseOutdated
    │   │   └── DatabaseElsewhere
    │   │       └── RelayAddressMissing, NodesOnly
    │   ├── InvitationInvalid, InvitationUnknown, NamesUnusable
    │   ├── FolderUnsafe, and FolderOfAnother below it
    │   ├── KeyRingUnusable, and KeyRingElsewhere below it
    │   ├── FolderUnusable, KnownServersUnusable, PortTaken, RelayPortsTaken, AddressUnavailable,
    │   │   BackupExists, BackupRefused, RestoreRefused, KeyNotEverywhere, RekeyUnderWay,
    │   │   CredentialUnreadable, ServiceInvalid, ServiceNotLoaded, ServiceNotStarted
    │   └── CertificateUnusable
    │       └── CertificateKeyLocked, CertificateTooWeak
    ├── ConnectError              no connection could be made, or it broke             exit 3
    │   ├── HostUnknown, ConnectRefused, NotAntiphon, DatabaseUnreachable, ServerSilent
    │   ├── NotRunning, and ProcessNotRunning below it
    │   └── ConnectionLost, ServerStopping
    ├── SignInError               the server refused the sign-in or ended the session  exit 4
    │   ├── SignInRefused, SignInTimedOut, TooManyFailures, NameLocked
    │   ├── RegistrationClosed, NameTaken, NameUnknown, CredentialRefused
    │   ├── PasswordDue
    │   ├── SessionClosed, SessionReplaced, SessionsFull, TokenRefused
    │   ├── SessionEnded
    │   │   ├── SessionExpired
    │   │   └── SessionRevoked
    │   │       └── AccountDisabled, AccountRemoved, AccountRenamed, PasswordChanged, TooManySessions,
    │   │           EndedElsewhere
    │   └── InvitationRefused
    │       └── InvitationUsed, InvitationExpired, InvitationForAnother
    ├── ProtocolError             a peer broke the protocol of docs/protocol.md        exit 5
    │   ├── FrameInvalid, FrameUnexpected, BodyInvalid, NotText, TextOnly, MessageInvalid
    │   ├── FrameTooLarge, and MessageTooLarge below it
    │   ├── VersionUnsupported, MechanismUnsupported, AccessUnsupported
    │   ├── TooManyRefusals, PeerSilent, PeerTooSlow
    │   └── TrustError            TLS or the server's key cannot be trusted
    │       ├── ServerKeyUnknown, ServerKeyChanged, CertificateRefused
    │       └── ServerUnproven, PasswordNotAsked, TlsFailed
    ├── Fault                     a fault of this program                              exit 1
    ├── InputFailed               standard input cannot be read                        exit 1
    ├── OutputFailed              standard output or error cannot be written           exit 1
    │   └── OutputClosed, SecretNotShown
    ├── TimedOut                  no answer within the time allowed                    exit 6
    ├── OverThreshold             figures of `antiphon ping` over --fail-over          exit 7
    └── ServerError               a fault of the server, its store or its service      exit 1
        └── TryLater, ServiceFailed, ServiceTooSlow, AnswerInvalid, OutcomeUnknown,
            ChangeUnknown, AnswersFaulty, WorkerEnded, ReloadFailed

The same classes serve both sides: the server sends `code` in an ERROR frame, and the client raises the class with
that code.
"""

from antiphon.errors.base import COPY_LIMIT, AntiphonError, Problem, every_error, from_wire
from antiphon.errors.connection import (
    ConnectError,
    ConnectionLost,
    ConnectRefused,
    DatabaseUnreachable,
    HostUnknown,
    NotAntiphon,
    NotRunning,
    ProcessNotRunning,
    ServerSilent,
    ServerStopping,
    TimedOut,
)
from antiphon.errors.database import (
    DatabaseElsewhere,
    DatabaseOutdated,
    DatabaseUnusable,
    NodesOnly,
    RelayAddressMissing,
    StoreTaken,
    StoreUnusable,
)
from antiphon.errors.ping import AnswersFaulty, OverThreshold
from antiphon.errors.protocol import (
    AccessUnsupported,
    BodyInvalid,
    CertificateRefused,
    FrameInvalid,
    FrameTooLarge,
    FrameUnexpected,
    MechanismUnsupported,
    MessageInvalid,
    MessageTooLarge,
    NotText,
    PasswordNotAsked,
    PeerSilent,
    PeerTooSlow,
    ProtocolError,
    ServerKeyChanged,
    ServerKeyUnknown,
    ServerUnproven,
    TextOnly,
    TlsFailed,
    TooManyRefusals,
    TrustError,
    VersionUnsupported,
)
from antiphon.errors.server import (
    AnswerInvalid,
    ChangeUnknown,
    Fault,
    OutcomeUnknown,
    ReloadFailed,
    ServerError,
    ServiceFailed,
    ServiceTooSlow,
    TryLater,
    WorkerEnded,
)
from antiphon.errors.signin import (
    AccountDisabled,
    AccountRemoved,
    AccountRenamed,
    CredentialRefused,
    EndedElsewhere,
    InvitationExpired,
    InvitationForAnother,
    InvitationRefused,
    InvitationUsed,
    NameLocked,
    NameTaken,
    NameUnknown,
    PasswordChanged,
    PasswordDue,
    RegistrationClosed,
    SessionClosed,
    SessionEnded,
    SessionExpired,
    SessionReplaced,
    SessionRevoked,
    SessionsFull,
    SignInError,
    SignInRefused,
    SignInTimedOut,
    TokenRefused,
    TooManyFailures,
    TooManySessions,
)
from antiphon.errors.streams import InputFailed, OutputClosed, OutputFailed, SecretNotShown
from antiphon.errors.usage import (
    AccountExists,
    AccountUnknown,
    AddressInvalid,
    AddressUnavailable,
    AnyoneRefused,
    BackupExists,
    BackupRefused,
    CertificateKeyLocked,
    CertificateTooWeak,
    CertificateUnusable,
    CredentialUnreadable,
    ExposureRefused,
    FileUnusable,
    FolderOfAnother,
    FolderUnsafe,
    FolderUnusable,
    ImportRefused,
    InputMissing,
    InvitationInvalid,
    InvitationUnknown,
    KeyNotEverywhere,
    KeyRingElsewhere,
    KeyRingUnusable,
    KnownServersUnusable,
    NameAmbiguous,
    NameInvalid,
    NamesUnusable,
    PasswordInvalid,
    PortInvalid,
    PortTaken,
    RekeyUnderWay,
    RelayPortsTaken,
    RestoreRefused,
    RowInvalid,
    ServiceInvalid,
    ServiceNotLoaded,
    ServiceNotStarted,
    SessionUnknown,
    SettingInvalid,
    TopicInvalid,
    TopicsFull,
    UsageError,
)

__all__ = [
    "COPY_LIMIT",
    "AccessUnsupported",
    "AccountDisabled",
    "AccountExists",
    "AccountRemoved",
    "AccountRenamed",
    "AccountUnknown",
    "AddressInvalid",
    "AddressUnavailable",
    "AnswerInvalid",
    "AnswersFaulty",
    "AntiphonError",
    "AnyoneRefused",
    "BackupExists",
    "BackupRefused",
    "BodyInvalid",
    "CertificateKeyLocked",
    "CertificateRefused",
    "CertificateTooWeak",
    "CertificateUnusable",
    "ChangeUnknown",
    "ConnectError",
    "ConnectRefused",
    "ConnectionLost",
    "CredentialRefused",
    "CredentialUnreadable",
    "DatabaseElsewhere",
    "DatabaseOutdated",
    "DatabaseUnreachable",
    "DatabaseUnusable",
    "EndedElsewhere",
    "ExposureRefused",
    "Fault",
    "FileUnusable",
    "FolderOfAnother",
    "FolderUnsafe",
    "FolderUnusable",
    "FrameInvalid",
    "FrameTooLarge",
    "FrameUnexpected",
    "HostUnknown",
    "ImportRefused",
    "InputFailed",
    "InputMissing",
    "InvitationExpired",
    "InvitationForAnother",
    "InvitationInvalid",
    "InvitationRefused",
    "InvitationUnknown",
    "InvitationUsed",
    "KeyNotEverywhere",
    "KeyRingElsewhere",
    "KeyRingUnusable",
    "KnownServersUnusable",
    "MechanismUnsupported",
    "MessageInvalid",
    "MessageTooLarge",
    "NameAmbiguous",
    "NameInvalid",
    "NameLocked",
    "NameTaken",
    "NameUnknown",
    "NamesUnusable",
    "NodesOnly",
    "NotAntiphon",
    "NotRunning",
    "NotText",
    "OutcomeUnknown",
    "OutputClosed",
    "OutputFailed",
    "OverThreshold",
    "PasswordChanged",
    "PasswordDue",
    "PasswordInvalid",
    "PasswordNotAsked",
    "PeerSilent",
    "PeerTooSlow",
    "PortInvalid",
    "PortTaken",
    "Problem",
    "ProcessNotRunning",
    "ProtocolError",
    "RegistrationClosed",
    "RekeyUnderWay",
    "RelayAddressMissing",
    "RelayPortsTaken",
    "ReloadFailed",
    "RestoreRefused",
    "RowInvalid",
    "SecretNotShown",
    "ServerError",
    "ServerKeyChanged",
    "ServerKeyUnknown",
    "ServerSilent",
    "ServerStopping",
    "ServerUnproven",
    "ServiceFailed",
    "ServiceInvalid",
    "ServiceNotLoaded",
    "ServiceNotStarted",
    "ServiceTooSlow",
    "SessionClosed",
    "SessionEnded",
    "SessionExpired",
    "SessionReplaced",
    "SessionRevoked",
    "SessionUnknown",
    "SessionsFull",
    "SettingInvalid",
    "SignInError",
    "SignInRefused",
    "SignInTimedOut",
    "StoreTaken",
    "StoreUnusable",
    "TextOnly",
    "TimedOut",
    "TlsFailed",
    "TokenRefused",
    "TooManyFailures",
    "TooManyRefusals",
    "TooManySessions",
    "TopicInvalid",
    "TopicsFull",
    "TrustError",
    "TryLater",
    "UsageError",
    "VersionUnsupported",
    "WorkerEnded",
    "every_error",
    "from_wire",
]
