//! The files that a node makes for a pod: /etc/hosts, /etc/hostname, /etc/resolv.conf and termination logs.

use k8s_openapi::api::core::v1::Pod;
use manifest::cri;
use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where the files of a pod are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFiles {
    /// For /etc/hosts.
    pub hosts: PathBuf,
    /// For /etc/hostname.
    pub hostname: PathBuf,
    /// For /etc/resolv.conf.
    pub resolv_conf: PathBuf,
}

/// Makes the pod's files in `folder`. `pod_ips` are its addresses; one that has none is reached at its loopback, by itself.
///
/// # Errors
/// With the path that could not be read or written.
pub fn write(
    folder: &Path,
    pod: &Pod,
    dns: Option<&cri::DnsConfig>,
    pod_ips: &[String],
) -> Result<NodeFiles, (PathBuf, io::Error)> {
    let files = NodeFiles {
        hosts: folder.join("etc-hosts"),
        hostname: folder.join("etc-hostname"),
        resolv_conf: folder.join("etc-resolv.conf"),
    };
    let host_network = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
    let hosts = match host_network {
        true => cri::hosts_file_of_node(pod, &read_or_empty(Path::new("/etc/hosts"))?),
        false if pod_ips.is_empty() => cri::hosts_file(pod, &["127.0.0.1".to_owned()]),
        false => cri::hosts_file(pod, pod_ips),
    };
    let hostname = match host_network {
        true => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        false => cri::hostname(pod),
    };
    let resolv_conf = match dns {
        Some(dns) => cri::resolv_conf(dns),
        None => {
            let of_node = read_or_empty(Path::new("/etc/resolv.conf"))?;
            let more = pod.spec.as_ref().and_then(|spec| cri::resolv_conf_with(spec, &of_node));
            more.unwrap_or(of_node)
        }
    };
    write_file(&files.hosts, &hosts)?;
    write_file(&files.hostname, &format!("{hostname}\n"))?;
    write_file(&files.resolv_conf, &resolv_conf)?;
    Ok(files)
}

fn read_or_empty(path: &Path) -> Result<String, (PathBuf, io::Error)> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err((path.to_owned(), e)),
    }
}

/// In place, not renamed: containers hold the file itself by a bind mount.
fn write_file(path: &Path, text: &str) -> Result<(), (PathBuf, io::Error)> {
    let written = std::fs::write(path, text)
        .and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(0o644)));
    written.map_err(|e| (path.to_owned(), e))
}

/// Where the termination log of one start of a container is.
pub fn termination_log_path(pod: &Path, container: &str, attempt: u32) -> PathBuf {
    pod.join("containers").join(container).join(attempt.to_string())
}

/// Makes an empty termination log for one start of a container: writable by whatever user it runs as.
///
/// # Errors
/// With the path.
pub fn make_termination_log(
    pod: &Path,
    container: &str,
    attempt: u32,
) -> Result<PathBuf, (PathBuf, io::Error)> {
    let path = termination_log_path(pod, container, attempt);
    let folder = path.parent().unwrap_or(pod);
    crate::root::make_private_directory(folder).map_err(|e| (folder.to_owned(), e))?;
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o666).open(&path);
    made.and_then(|file| file.set_permissions(Permissions::from_mode(0o666)))
        .map_err(|e| (path.clone(), e))?;
    Ok(path)
}

/// The most of a termination log that is kept (`MaxContainerTerminationMessageLength` of the kubelet).
const MESSAGE_BYTES_MAX: u64 = 4096;

/// What a container left in its termination log; none if nothing.
pub fn read_termination_log(path: &Path) -> Option<String> {
    use std::io::Read;
    // The container could have put a FIFO or device there only by replacing the file, which a bind mount forbids;
    // O_NONBLOCK costs nothing.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let mut bytes = Vec::new();
    file.take(MESSAGE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pods_own_name_is_in_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut pod = Pod::default();
        pod.metadata.name = Some("mount-a".into());
        let files = write(dir.path(), &pod, None, &[]).unwrap();
        assert!(std::fs::read_to_string(&files.hosts).unwrap().contains("\n127.0.0.1\tmount-a\n"));
        let again = write(dir.path(), &pod, None, &["10.0.0.2".to_owned()]).unwrap();
        assert_eq!(again, files);
        assert!(std::fs::read_to_string(&files.hosts).unwrap().ends_with("\n10.0.0.2\tmount-a\n"));
        assert_eq!(std::fs::read_to_string(files.hostname).unwrap(), "mount-a\n");
    }

    #[test]
    fn a_termination_log_is_new_writable_and_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = make_termination_log(dir.path(), "main", 3).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o666);
        assert_eq!(read_termination_log(&path), None);
        std::fs::write(&path, "x".repeat(5000)).unwrap();
        assert_eq!(read_termination_log(&path).unwrap().len(), 4096);
        make_termination_log(dir.path(), "main", 3).unwrap();
        assert_eq!(read_termination_log(&path), None);
    }
}
