//! One call of one plugin: a program with an environment, its configuration on standard input, its answer on standard
//! output; bounded in time and in what it says.

use super::{PluginError, Verb, answer};
use crate::container::wait_for_end;
use rustix::fd::AsFd as _;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::process::{Pid, PidfdFlags, Signal};
use serde_json::Value;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

/// The most that a plugin may answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// The most that is kept of what it says on standard error, in bytes.
const ERROR_BYTES_MAX: u64 = 16 << 10;
/// The most of it that is shown.
const SHOWN_BYTES_MAX: usize = 512;
/// Where plugins find iptables and the like, whatever our own `PATH` is.
const SYSTEM_PATH: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// What every plugin of one call of a list is told.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) verb: Verb,
    pub(super) sandbox: &'a str,
    /// Empty where the namespace is no more.
    pub(super) namespace: &'a str,
    pub(super) interface: &'a str,
    pub(super) args: &'a str,
    pub(super) folders: &'a [PathBuf],
}

impl Call<'_> {
    /// Calls one plugin with its configuration; its answer, which only ADD has.
    pub(super) fn run(
        &self,
        network: &str,
        config: &Value,
        timeout: Duration,
    ) -> Result<Option<Value>, PluginError> {
        let plugin = config["type"].as_str().unwrap_or_default();
        let failed = |reason: String| PluginError::Failed {
            plugin: plugin.to_owned(),
            network: network.to_owned(),
            verb: self.verb.in_words(),
            reason,
        };
        let path = find(self.folders, plugin)?;
        let system = |error: std::io::Error| failed(error.to_string());
        let mut input = std::fs::File::from(
            rustix::fs::memfd_create(c"cni-config", MemfdFlags::CLOEXEC).map_err(|e| system(e.into()))?,
        );
        serde_json::to_writer(&mut input, config).map_err(|error| failed(error.to_string()))?;
        input.flush().and_then(|()| input.rewind()).map_err(system)?;
        let mut output = bounded_file(ANSWER_BYTES_MAX).map_err(system)?;
        let mut errors = bounded_file(ERROR_BYTES_MAX).map_err(system)?;
        let mut command = Command::new(&path);
        command.envs(self.environment()).current_dir("/").process_group(0);
        command.stdin(input);
        command.stdout(output.try_clone().map_err(system)?).stderr(errors.try_clone().map_err(system)?);
        // Whoever is ended while a plugin works takes it along; DEL then undoes what there is.
        sys::process::die_with_parent(&mut command);
        let child = command.spawn().map_err(|source| PluginError::Execute { path, source })?;
        let ended = wait(child, timeout).map_err(system)?;
        let said = read_whole(&mut output, ANSWER_BYTES_MAX).map_err(system)?;
        let complaint = read_whole(&mut errors, ERROR_BYTES_MAX).map_err(system)?;
        let Some(status) = ended else {
            return Err(failed(format!(
                "it took longer than {} s and was ended{}",
                timeout.as_secs(),
                shown(&complaint)
            )));
        };
        self.judge(status, &said, &complaint).map_err(failed)
    }

    fn judge(&self, status: ExitStatus, said: &[u8], complaint: &[u8]) -> Result<Option<Value>, String> {
        if said.len() as u64 >= ANSWER_BYTES_MAX {
            return Err(format!("it answers with more than {} KiB", ANSWER_BYTES_MAX >> 10));
        }
        if !status.success() {
            let how = match status.signal() {
                Some(signal) => format!("it was ended by signal {signal}"),
                None => format!("it ended with status {}", status.code().unwrap_or_default()),
            };
            let unsaid = || match said.is_empty() {
                true => format!("netplugin failed with no error message: {how}{}", shown(complaint)),
                false => format!("{how}, and what it answers is no error{}", shown(said)),
            };
            return Err(answer::parse_error(said).unwrap_or_else(unsaid));
        }
        if self.verb != Verb::Add {
            return Ok(None);
        }
        let result = answer::parse_result(said)
            .map_err(|why| format!("its answer is no result: {why}{}", shown(said)))?;
        Ok(Some(result))
    }

    /// Beside what we have ourselves, which libcni passes on too.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let folders: Vec<String> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        vec![
            ("PATH", search_path(&std::env::var("PATH").unwrap_or_default())),
            ("CNI_COMMAND", self.verb.command().to_owned()),
            ("CNI_CONTAINERID", self.sandbox.to_owned()),
            ("CNI_NETNS", self.namespace.to_owned()),
            ("CNI_IFNAME", self.interface.to_owned()),
            ("CNI_ARGS", self.args.to_owned()),
            ("CNI_PATH", folders.join(":")),
        ]
    }
}

/// A plugin's program, from the first folder that has it.
pub(super) fn find(folders: &[PathBuf], plugin: &str) -> Result<PathBuf, PluginError> {
    let found = folders.iter().map(|folder| folder.join(plugin)).find(|path| path.is_file());
    found.ok_or_else(|| PluginError::Missing { name: plugin.to_owned(), folders: folders.to_vec() })
}

/// Ours, with what it lacks of the system's behind it.
fn search_path(own: &str) -> String {
    let has: Vec<&str> = own.split(':').filter(|folder| !folder.is_empty()).collect();
    let lacks = SYSTEM_PATH.into_iter().filter(|folder| !has.contains(folder));
    has.iter().copied().chain(lacks).collect::<Vec<_>>().join(":")
}

/// A file in memory into which so much can be written and no more: nobody has to read along, and a child of the plugin's
/// that lives on holds nobody up.
fn bounded_file(bytes: u64) -> std::io::Result<std::fs::File> {
    let file = rustix::fs::memfd_create(c"cni-output", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&file, bytes)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::GROW)?;
    Ok(file.into())
}

/// What was written into one: the rest is zeros, which no answer ends in.
fn read_whole(file: &mut std::fs::File, bytes: u64) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.rewind()?;
    file.take(bytes).read_to_end(&mut content)?;
    let end = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    content.truncate(end);
    Ok(content)
}

/// Waits for a plugin; one that takes too long is killed with its children, and then there is no status.
fn wait(mut child: Child, timeout: Duration) -> std::io::Result<Option<ExitStatus>> {
    let pid = Pid::from_child(&child);
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let ended = wait_for_end(pidfd.as_fd(), timeout).map_err(std::io::Error::other)?;
    if !ended {
        // Not waited for yet, so the number still is its own; it leads its group.
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
    let status = child.wait()?;
    Ok(ended.then_some(status))
}

/// The beginning of what a plugin has said, behind a colon.
fn shown(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(&said[..said.len().min(SHOWN_BYTES_MAX)]);
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!(": {text:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Instant;

    /// A folder with a plugin that is a shell script.
    fn plugin(script: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        folder
    }

    fn call(script: &str, verb: Verb, timeout: Duration) -> Result<Option<Value>, String> {
        let folder = plugin(script);
        let folders = [PathBuf::from("/nowhere"), folder.path().to_owned()];
        let call = Call {
            verb,
            sandbox: "box",
            namespace: "/proc/1/fd/2",
            interface: "eth0",
            args: "A=b",
            folders: &folders,
        };
        call.run("net", &json!({"type": "test", "more": "x".repeat(100_000)}), timeout)
            .map_err(|error| error.to_string())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_plugin_gets_its_words_and_its_answer_is_taken() {
        let script = r#"[ "$(wc -c)" -gt 100000 ] || exit 1
            echo "some log" >&2
            echo "{\"cniVersion\": \"1.0.0\", \"said\": \"$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_ARGS\"}""#;
        let answer = call(script, Verb::Add, LONG).unwrap().unwrap();
        assert_eq!(answer["said"], "ADD box /proc/1/fd/2 eth0 A=b");
        assert_eq!(call("exit 0", Verb::Delete, LONG), Ok(None));
    }

    #[test]
    fn whatever_a_plugin_does_is_said_and_bounded() {
        let failed = |verb: &str| format!("plugin type=\"test\" name=\"net\" failed ({verb}): ");
        let cases = [
            (r#"echo '{"code": 7, "msg": "no", "details": "really"}'; exit 1"#, "no; really"),
            (
                "echo nonsense; exit 1",
                "it ended with status 1, and what it answers is no error: \"nonsense\"",
            ),
            (
                "echo oops >&2; exit 3",
                "netplugin failed with no error message: it ended with status 3: \"oops\"",
            ),
            ("kill -9 $$", "netplugin failed with no error message: it was ended by signal 9"),
            ("echo nonsense", "its answer is no result: expected ident at line 1 column 2: \"nonsense\""),
            ("true", "its answer is no result: EOF while parsing a value at line 1 column 0"),
            ("head -c 3000000 /dev/zero | tr '\\0' x; exit 0", "it answers with more than 1024 KiB"),
            (
                "head -c 3000000 /dev/zero >&2; exit 9",
                "netplugin failed with no error message: it ended with status 9",
            ),
        ];
        for (script, expected) in cases {
            assert_eq!(call(script, Verb::Add, LONG), Err(failed("add") + expected), "{script}");
        }
    }

    #[test]
    fn a_plugin_that_hangs_is_ended_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", path.display());
        let error = call(&script, Verb::Check, Duration::from_secs(1)).unwrap_err();
        assert!(error.ends_with("failed (check): it took longer than 1 s and was ended"), "{error}");
        let pid: i32 = std::fs::read_to_string(path).unwrap().trim().parse().unwrap();
        let ended = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        let until = Instant::now() + LONG;
        while !ended() {
            assert!(Instant::now() < until, "the plugin's child still runs");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_child_that_lives_on_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; echo '{{}}'", path.display());
        assert_eq!(call(&script, Verb::Add, LONG), Ok(Some(json!({}))));
        let pid: i32 = std::fs::read_to_string(path).unwrap().trim().parse().unwrap();
        rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }

    #[test]
    fn a_plugin_that_is_not_there_is_named_with_the_folders() {
        let folders = [PathBuf::from("/a"), PathBuf::from("/b")];
        let call = Call {
            verb: Verb::Add,
            sandbox: "s",
            namespace: "",
            interface: "eth0",
            args: "",
            folders: &folders,
        };
        let error = call.run("net", &json!({"type": "bridge"}), LONG).unwrap_err();
        assert_eq!(error.to_string(), "failed to find plugin \"bridge\" in path [/a /b]");
    }
}
