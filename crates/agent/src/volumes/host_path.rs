//! hostPath: the kubelet's checks by type, with its words (`pkg/volume/hostpath/host_path.go`), and the one thing
//! that a container runtime does instead of it: a source without a type that is missing becomes a directory.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A source that is not what its type says.
#[derive(Debug, thiserror::Error)]
pub enum HostPathError {
    /// It is something else, or it is missing.
    #[error("hostPath type check failed: {path} is not {expected}")]
    Type {
        /// The source.
        path: PathBuf,
        /// What it should be, with its article.
        expected: &'static str,
    },
    /// The type is none of the API's.
    #[error("{kind} is an invalid volume type")]
    UnknownType {
        /// The type.
        kind: String,
    },
    /// It cannot be looked at.
    #[error("stat {path}: {}", os_words(.source))]
    Stat {
        /// The source.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Who serves its file system hangs.
    #[error("stat {path}: no answer within {} s{}", .silent.timeout.as_secs(), at_mount(.silent))]
    NoAnswer {
        /// The source.
        path: PathBuf,
        /// What is known of the file system.
        silent: observe::Silent,
    },
    /// It is missing and cannot be made.
    #[error("{call} {path}: {}", os_words(.source))]
    Make {
        /// `mkdir` or `open`.
        call: &'static str,
        /// The source.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl HostPathError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            HostPathError::Stat { path, source } if source.raw_os_error() == Some(ENOTCONN) => Some(format!(
                "the FUSE server behind {0} is gone: `umount -l {0}`, and mount it again; to see it come back in \
                 containers, let the volume be the directory above it",
                path.display()
            )),
            HostPathError::NoAnswer { path, silent } => Some(mend_of_silence(path, silent)),
            HostPathError::Make { path, call: "open", .. } => path.parent().map(|parent| {
                format!(
                    "FileOrCreate makes the file but not the directories above it: `mkdir -p {}`",
                    parent.display()
                )
            }),
            _ => None,
        }
    }
}

/// How long a source's file system may take to say what is there. A supervisor does nothing else meanwhile, and a removal
/// by force takes one that is silent for 10 s for stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

fn at_mount(silent: &observe::Silent) -> String {
    let at = silent.mount.as_ref();
    at.map(|(place, fs_type)| format!(" from the {fs_type} mounted at {}", place.display()))
        .unwrap_or_default()
}

fn mend_of_silence(path: &Path, silent: &observe::Silent) -> String {
    let place = silent.mount.as_ref().map_or(path, |(place, _)| place.as_path()).display();
    let abort = silent.fuse_connection.map_or_else(String::new, |connection| {
        format!(" (or end all that waits for it: `echo 1 > /sys/fs/fuse/connections/{connection}/abort`)")
    });
    format!("whoever serves {place} hangs: restart it{abort}, or `umount -l {place}` and mount it again")
}

/// The errno of a FUSE mount whose server is gone.
const ENOTCONN: i32 = rustix::io::Errno::NOTCONN.raw_os_error();

/// An error as Go prints it after the path: the C library's words in lower case, without the number.
pub(crate) fn os_words(error: &impl ToString) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    words.to_lowercase()
}

/// What is at a path, links followed.
enum Found {
    Missing,
    Is(std::fs::FileType),
}

fn look(path: &Path) -> Result<Found, HostPathError> {
    observe::require_answer(path, ANSWER_TIMEOUT)
        .map_err(|silent| HostPathError::NoAnswer { path: path.to_owned(), silent })?;
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Found::Is(metadata.file_type())),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Found::Missing)
        }
        Err(source) => Err(HostPathError::Stat { path: path.to_owned(), source }),
    }
}

/// Checks a source against its type and makes it where the type says so. Gives a warning where something was made
/// that the user may not have meant.
///
/// # Errors
/// In the kubelet's words.
pub fn check(path: &Path, kind: &str) -> Result<Option<String>, HostPathError> {
    let found = look(path)?;
    let is = |expected: &'static str, test: fn(&std::fs::FileType) -> bool| match &found {
        Found::Is(file_type) if test(file_type) => Ok(None),
        _ => Err(HostPathError::Type { path: path.to_owned(), expected }),
    };
    match (kind, &found) {
        ("", Found::Is(_)) => Ok(None),
        ("", Found::Missing) => {
            make_directory(path)?;
            Ok(Some(format!(
                "hostPath {0} was missing and is now an empty directory, as on a Kubernetes node; \
                 `type: Directory` or `type: File` would have refused it",
                path.display()
            )))
        }
        ("DirectoryOrCreate", Found::Missing) => make_directory(path).map(|()| None),
        ("DirectoryOrCreate" | "Directory", _) => is("a directory", std::fs::FileType::is_dir),
        ("FileOrCreate", Found::Missing) => make_file(path).map(|()| None),
        ("FileOrCreate" | "File", _) => is("a file", std::fs::FileType::is_file),
        ("Socket", _) => is("a socket file", FileTypeExt::is_socket),
        ("CharDevice", _) => is("a character device", FileTypeExt::is_char_device),
        ("BlockDevice", _) => is("a block device", FileTypeExt::is_block_device),
        (other, _) => Err(HostPathError::UnknownType { kind: other.to_owned() }),
    }
}

fn make_directory(path: &Path) -> Result<(), HostPathError> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(|source| HostPathError::Make {
        call: "mkdir",
        path: path.to_owned(),
        source,
    })
}

fn make_file(path: &Path) -> Result<(), HostPathError> {
    let made = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(path);
    made.map(drop).map_err(|source| HostPathError::Make { call: "open", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY_TYPE: [&str; 8] =
        ["", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"];

    /// Which types a source passes, and the words for the others.
    fn verdicts(path: &Path) -> Vec<String> {
        EVERY_TYPE
            .iter()
            .map(|kind| match check(path, kind) {
                Ok(_) => format!("{kind} ok"),
                Err(error) => {
                    format!("{kind} {}", error.to_string().replace(&path.display().to_string(), "PATH"))
                }
            })
            .collect()
    }

    #[test]
    fn every_type_against_every_kind_of_source() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let refused =
            |kind: &str, what: &str| format!("{kind} hostPath type check failed: PATH is not {what}");
        let words = |kind| match kind {
            "DirectoryOrCreate" | "Directory" => "a directory",
            "FileOrCreate" | "File" => "a file",
            "Socket" => "a socket file",
            "CharDevice" => "a character device",
            _ => "a block device",
        };
        let table: [(&Path, &[&str]); 5] = [
            (dir.path(), &["", "DirectoryOrCreate", "Directory"]),
            (&file, &["", "FileOrCreate", "File"]),
            (&link, &["", "FileOrCreate", "File"]),
            (&socket, &["", "Socket"]),
            (Path::new("/dev/null"), &["", "CharDevice"]),
        ];
        for (path, passes) in table {
            let expected: Vec<String> =
                EVERY_TYPE
                    .iter()
                    .map(|kind| {
                        if passes.contains(kind) { format!("{kind} ok") } else { refused(kind, words(kind)) }
                    })
                    .collect();
            assert_eq!(verdicts(path), expected, "{}", path.display());
        }
    }

    #[test]
    fn what_is_missing_is_made_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        assert!(check(&at("a/b"), "").unwrap().unwrap().contains("was missing"));
        assert!(at("a/b").is_dir());
        assert_eq!(check(&at("c/d"), "DirectoryOrCreate").unwrap(), None);
        assert!(at("c/d").is_dir());
        assert_eq!(check(&at("f"), "FileOrCreate").unwrap(), None);
        assert!(at("f").is_file());
        let error = check(&at("no/f"), "FileOrCreate").unwrap_err();
        assert_eq!(error.to_string(), format!("open {}: no such file or directory", at("no/f").display()));
        for kind in ["Directory", "File", "Socket", "CharDevice", "BlockDevice"] {
            let error = check(&at("missing"), kind).unwrap_err().to_string();
            assert!(error.starts_with("hostPath type check failed: "), "{error}");
            assert!(!at("missing").exists());
        }
        assert_eq!(
            check(&at("f"), "Nonsense").unwrap_err().to_string(),
            "Nonsense is an invalid volume type"
        );
    }
}
