//! No error without a session: each variant of each error that reaches the command line, and each exit code, is in `tests/snapshots`,
//! or it is said here why not. A variant that is new does not compile before it has its line.

use kmsfs::cli::exit;
use kmsfs::datakey::{DataKeyError, Usability};
use kmsfs::envelope::HeaderError;
use kmsfs::fs::FsError;
use kmsfs::fs::file::FileError;
use kmsfs::fuse::MountError;
use kmsfs::kms::clock::ClockError;
use kmsfs::kms::ring::StoreFailure;
use kmsfs::kms::{AwsError, Cause};
use kmsfs::serve::ServeError;
use kmsfs::store::{AlarmError, CredentialError, HomeError};
use kmsfs::volume::VolumeError;

use crate::snapshots::said;

/// Where a person meets an error.
enum Met {
    /// In a session, in these words.
    In(&'static str),
    /// In none: why.
    Not(&'static str),
}

use Met::{In, Not};

macro_rules! table {
    ($name:ident: $error:ty { $($variant:pat => $met:expr,)* }) => {
        #[test]
        fn $name() {
            // The compiler sees to it that no variant is left out.
            fn _whole(error: &$error) {
                match error { $($variant => (),)* }
            }
            each_is_met(&[$((stringify!($variant), $met)),*]);
        }
    };
}

fn each_is_met(table: &[(&str, Met)]) {
    let said = said();
    let is_command = |line: &str| line.starts_with("$ ");
    for (variant, met) in table {
        match met {
            In(words) => assert!(
                said.iter().any(|line| !is_command(line) && line.contains(words)),
                "{variant}: no session says {words:?}"
            ),
            Not(why) => assert!(why.len() > 10, "{variant}"),
        }
    }
}

table!(errors_of_the_home: HomeError {
    HomeError::NotFound(_) => In("there is no home in "),
    HomeError::AlreadyExists(_) => In("there is a home in "),
    HomeError::NotEmpty(_) => In("is not empty and not a home"),
    HomeError::KeyFileMissing(_) => In("key-file is missing"),
    HomeError::KeyFileWrong(_) => In("key-file does not unlock this home"),
    HomeError::KeyFilePermissions(..) => In("key-file is open to others"),
    HomeError::KeyFileUnsuitable(..) => In("cannot serve as a key file"),
    HomeError::PassphraseMissing(None) => In("kmsfs: the home asks for a passphrase"),
    HomeError::PassphraseMissing(Some(_)) => In("and there is no terminal to ask for the passphrase on"),
    HomeError::PassphraseWrong => In("the passphrase does not unlock this home"),
    HomeError::PassphraseUnsuitable(..) => In("gives no passphrase or recovery code"),
    HomeError::PassphraseFilePermissions(..) => In("the file passphrase is open to others"),
    HomeError::RecoveryCodeMissing => In("only a recovery code unlocks this home"),
    HomeError::NoRecoveryCode => In("this home has no slot that a recovery code unlocks"),
    HomeError::RecoveryCodeWrong => In("the recovery code does not unlock this home"),
    HomeError::RecoveryCodeInvalid(_) => In("type it as it was printed"),
    HomeError::NoSuchSlot(_) => In("there is no slot 7"),
    HomeError::LastSlot(_) => In("slot 1 is the only one"),
    HomeError::TooManySlots => Not("64 slots take long to make: tests/store/slots.rs"),
    HomeError::InvalidCost(_) => In("a passphrase cannot cost"),
    HomeError::OutOfMemory(_) => In("MiB of memory, and that is not there"),
    HomeError::SecretOfAnotherKind => Not("an error of this program, which no command line leads to"),
    HomeError::BackupDamaged(..) => In("is not a whole backup of a home"),
    HomeError::BackupExists(_) => In("backup is there already"),
    HomeError::BackupOfItself(_) => In("is of the home itself"),
    HomeError::Audit(_) => In("the audit log"),
    HomeError::InvalidSetting { .. } => In("is not 12 digits"),
    HomeError::Corrupted(..) => In("keys.db is corrupted"),
    HomeError::Tampered(_) => In("the key store has been tampered with"),
    HomeError::NewerFormat { .. } => In("the home has format 9"),
    HomeError::Busy(_) => Not("a process that holds the key store for longer than others wait: tests/store/processes.rs"),
    HomeError::Io(..) => In("kmsfs: nowhere/key-file: No such file or directory"),
});

table!(errors_of_the_volume: VolumeError {
    VolumeError::NotAVolume(_) => In("is not a kmsfs volume"),
    VolumeError::AlreadyAVolume(_) => In("is a kmsfs volume already"),
    VolumeError::NotEmpty(_) => In("full is not empty"),
    VolumeError::NewerFormat { .. } => In("is a volume of format 2"),
    VolumeError::OtherHome { .. } => In("belongs to the home"),
    VolumeError::Tampered(_) => In("the volume's records were altered"),
    VolumeError::Locked { .. } => In("is in use already"),
    VolumeError::Io(..) => In("nowhere/dir: No such file or directory"),
});

table!(errors_of_a_data_key: DataKeyError {
    DataKeyError::Unusable(_, Usability::Disabled) => In(" is disabled"),
    DataKeyError::Unusable(_, Usability::PendingDeletion) => In(" is pending deletion or deleted"),
    DataKeyError::Unusable(_, Usability::PendingImport) => Not("no operation imports material yet"),
    DataKeyError::Unusable(_, Usability::Denied) => Not("a program in a mount meets it, as EACCES; a command is told that it is denied"),
    DataKeyError::Unusable(_, Usability::Unknown) => In(" is not known here"),
    DataKeyError::Unusable(_, Usability::Usable) => Not("no error: whoever asks raced with an enabling"),
    DataKeyError::Denied(_) => In("access denied: User: "),
    DataKeyError::Inauthentic => In("the wrapped data key does not authenticate"),
    DataKeyError::Unreachable(_) => Not("of a remote key service, which there is not yet"),
    DataKeyError::NotFound(_) => In("is not found"),
    DataKeyError::WrongKind(..) => In(", and files take symmetric keys for encryption"),
    DataKeyError::Failed(_) => In("the key service failed"),
});

table!(errors_of_a_file: FileError {
    FileError::Empty => In("the ciphertext has no byte"),
    FileError::Header(_) => In("the header does not authenticate"),
    FileError::Sector(..) => In("tag sector 0 of segment 0"),
    FileError::Chunk(_) => In("chunk 1 does not authenticate"),
    FileError::Unsettled(_) => Not("only a writer who holds the key makes it: tests/format/tamper.rs"),
    FileError::ChunkLength { .. } => Not("only a writer who holds the key makes it: tests/format/tamper.rs"),
    FileError::Length { .. } => In("the ciphertext has "),
    FileError::Root => In("the content root"),
    FileError::TooLarge => Not("a program in a mount meets it, as EFBIG: no command writes into files"),
    FileError::ReadOnly => Not("a program in a mount meets it, as EACCES: no command writes into files"),
    FileError::Io(_) => Not("a device that fails while a file is read: tests/format/failure.rs"),
});

table!(errors_of_a_header: HeaderError {
    HeaderError::Empty => Not("a slot that was never written is passed over, and a file without another is no kmsfs file"),
    HeaderError::NotAHeader => In("not the header of a kmsfs file"),
    HeaderError::NewerVersion(_) => In("file format 2, expected 1"),
    HeaderError::UnknownSuite(_) => In("cipher suite 9, expected 1"),
    HeaderError::Malformed(_) => In("has an impossible value"),
    HeaderError::Inauthentic => In("the header does not authenticate"),
    HeaderError::WrapTooLong(_) => Not("the names and blobs of the embedded key service always fit"),
});

table!(errors_of_the_filesystem: FsError {
    FsError::Os(_) => Not("a command names its own paths, and says what the system says of them"),
    FsError::Key(_) => In("the wrapped data key does not authenticate"),
    FsError::Busy(_) => In("larger than 256 MiB"),
    FsError::File { .. } => In("chunk 1 does not authenticate"),
    FsError::Volume(_) => Not("a program in a mount meets it, as EIO; kmsfs scrub says it in words of its own"),
    FsError::Stale => Not("a program in a mount meets it, as ESTALE"),
    FsError::Reserved => Not("a program in a mount meets it, as EPERM"),
    FsError::ReadOnlyAttribute => Not("a program in a mount meets it, as EPERM"),
    FsError::ReadOnlyMount => Not("a program in a mount meets it, as EROFS"),
    FsError::Invalid => Not("a program in a mount meets it, as EINVAL"),
    FsError::Unsupported => Not("a program in a mount meets it, as EOPNOTSUPP"),
});

table!(errors_of_a_mount: MountError {
    MountError::Volume(_) => In("is in use already"),
    MountError::Filesystem(_) => In("dir/.kmsfs/dirty: it is not a regular file"),
    MountError::Control(_) => In("the mount's control socket cannot be made"),
    MountError::Refused { .. } => In("cannot be mounted on"),
    MountError::Session(_) => Not("the kernel breaks off what works: nothing brings it about"),
});

table!(failures_of_the_key_store: StoreFailure {
    StoreFailure::Tampered(_) => In("the key store has been tampered with"),
    StoreFailure::Failed(_) => Not("a key store that fails after it was opened: tests/store/bytes.rs"),
});

table!(errors_of_the_clock: ClockError {
    ClockError::NotSimulated => In("this home's clock is the machine's"),
    ClockError::Simulated => In("this home's clock is simulated"),
    ClockError::Backwards { .. } => In("and time does not go back"),
    ClockError::TooFar => In("a simulated clock goes no further"),
    ClockError::Failed(_) => In("the audit log cannot be written"),
});

table!(errors_of_alarms: AlarmError {
    AlarmError::Exists(_) => In("there is an alarm who already"),
    AlarmError::NotFound(_) => In("there is no alarm who"),
    AlarmError::Failed(_) => Not("a key store or audit log that fails after it was opened: tests/kms/audit.rs"),
});

table!(errors_of_credentials: CredentialError {
    CredentialError::NotAPrincipal(_) => In("is no principal of this home's account"),
    CredentialError::TooMany => Not("a thousand credentials: tests/store/credentials.rs"),
    CredentialError::NotFound(_) => In("there is no credential "),
    CredentialError::Failed(_) => Not("a key store or audit log that fails after it was opened: tests/kms/audit.rs"),
});

table!(causes_of_a_failed_operation: Cause {
    Cause::Refused => In("An error occurred (NotFoundException)"),
    Cause::Store => Not("a key store that fails after it was opened: tests/kms/audit.rs"),
    Cause::Tampered => In("the key store has been tampered with"),
    Cause::Audit => In("the audit log"),
    Cause::Unconfirmed => In("did not confirm"),
});

table!(errors_of_aws_kms: AwsError {
    AwsError::AccessDenied => In("(AccessDeniedException) when calling the Encrypt operation"),
    AwsError::AlreadyExists => In("(AlreadyExistsException) when calling the CreateAlias operation"),
    AwsError::Conflict => Not("a rotation on demand within 20 minutes of an automatic one; tests/kms has it"),
    AwsError::CustomKeyStoreNotFound => In("(CustomKeyStoreNotFoundException) when calling the CreateKey operation"),
    AwsError::Disabled => In("(DisabledException) when calling the Encrypt operation"),
    AwsError::DryRunOperation => In("(DryRunOperationException) when calling the Encrypt operation"),
    AwsError::ExpiredImportToken => Not("a token is good for a day: tests/kms/import.rs"),
    AwsError::IncorrectKey => In("(IncorrectKeyException) when calling the Decrypt operation"),
    AwsError::IncorrectKeyMaterial => In("(IncorrectKeyMaterialException) when calling the ImportKeyMaterial operation"),
    AwsError::InvalidAliasName => In("(InvalidAliasNameException) when calling the CreateAlias operation"),
    AwsError::InvalidArn => In("(InvalidArnException) when calling the"),
    AwsError::InvalidCiphertext => In("(InvalidCiphertextException) when calling the Decrypt operation"),
    AwsError::InvalidImportToken => In("(InvalidImportTokenException) when calling the ImportKeyMaterial operation"),
    AwsError::InvalidGrantId => In("(InvalidGrantIdException) when calling the RevokeGrant operation"),
    AwsError::InvalidGrantToken => In("(InvalidGrantTokenException) when calling the RetireGrant operation"),
    AwsError::InvalidKeyUsage => In("(InvalidKeyUsageException) when calling the Encrypt operation"),
    AwsError::InvalidMac => In("(KMSInvalidMacException) when calling the VerifyMac operation"),
    AwsError::InvalidSignature => In("(KMSInvalidSignatureException) when calling the Verify operation"),
    AwsError::InvalidMarker => In("(InvalidMarkerException) when calling the ListKeys operation"),
    AwsError::Internal => Not("a failure of the machine, which the command line says in words of its own"),
    AwsError::InvalidState => In("(KMSInvalidStateException) when calling the Encrypt operation"),
    AwsError::LimitExceeded => Not("a quota of thousands of keys, aliases or rotations: tests/kms/requests.rs"),
    AwsError::MalformedPolicyDocument => In("(MalformedPolicyDocumentException) when calling the PutKeyPolicy operation"),
    AwsError::NotAuthorized => In("(NotAuthorizedException) when calling the CreateAlias operation"),
    AwsError::NotFound => In("(NotFoundException) when calling the DescribeKey operation"),
    AwsError::Serialization => In("(SerializationException) when calling the"),
    AwsError::Tag => In("(TagException) when calling the TagResource operation"),
    AwsError::UnknownOperation => Not("the command line knows the operations, and says so in words of its own"),
    AwsError::UnsupportedOperation => In("(UnsupportedOperationException) when calling the CreateKey operation"),
    AwsError::Validation => In("(ValidationException) when calling the"),
});

table!(errors_of_the_server: ServeError {
    ServeError::Listen { .. } => In("127.0.0.9:4599 is in use"),
    ServeError::NotASocket(_) => In("file is there, and is no socket"),
    ServeError::TlsFile(..) => In("tls.crt: No such file"),
    ServeError::Tls { .. } => In("there is no certificate in it"),
    ServeError::TlsPair(_) => In("certificate and private key cannot be used"),
    ServeError::System(_) => Not("a machine that gives no thread and no signal"),
});

#[test]
fn every_exit_code_that_help_shows_is_met_and_no_other() {
    let codes = exit::HELP.lines().skip(1).map(|line| line.split_whitespace().next().unwrap().to_owned());
    let mut codes: Vec<_> = codes.filter(|code| code != "0").collect();
    let mut met: Vec<_> =
        said().iter().filter_map(|line| Some(line.strip_prefix("? ")?.to_owned())).collect();
    codes.sort();
    met.sort();
    met.dedup();
    assert_eq!(met, codes);
}
