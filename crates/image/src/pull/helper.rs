//! Credential helpers: programs `docker-credential-NAME` that keep passwords for docker
//! (docker/docker-credential-helpers, "Development": the name of a server on standard input, a JSON document back).

use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Deserialize;

use super::credentials::Credential;
use super::registry_error::RegistryError;

/// A helper may ask the user to unlock something, but not for ever.
const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_ANSWER: usize = 64 * 1024;
/// The user name that marks the secret as an identity token.
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks the helper `name` for `server`. Nothing where it knows none.
pub(crate) fn get(name: &str, server: &str) -> Result<Option<Credential>, RegistryError> {
    let program = format!("docker-credential-{name}");
    let failed = |reason: String| RegistryError::Helper { program: program.clone(), reason };
    // A name with a slash would be a path, and not of a credential helper.
    if name.contains(['/', '\0']) {
        return Err(failed("the name is not that of a helper".to_owned()));
    }
    let spawned = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = spawned.map_err(|e| failed(e.to_string()))?;
    let answer = ask(&mut child, server);
    if answer.is_err() {
        // Gone or not: it is ours until it is waited for.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|e| failed(e.to_string()))?;
    let answer = answer.map_err(|e| failed(e.to_string()))?;
    if !status.success() {
        let text = String::from_utf8_lossy(&answer);
        if text.contains("credentials not found") {
            return Ok(None);
        }
        let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
        return Err(failed(format!("{status}: {text}")));
    }
    let answer: Answer =
        serde_json::from_slice(&answer).map_err(|_| failed("no answer in JSON".to_owned()))?;
    Ok(Some(if answer.username == TOKEN_USER {
        Credential::Identity(answer.secret)
    } else {
        Credential::Basic { user: answer.username, password: answer.secret }
    }))
}

fn ask(child: &mut Child, server: &str) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + TIMEOUT;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(server.as_bytes()) {
            // One that answers without reading.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {}
            written => written?,
        }
    }
    let Some(mut stdout) = child.stdout.take() else { return Ok(Vec::new()) };
    let mut answer = Vec::new();
    let mut buffer = [0_u8; 4096];
    while answer.len() < MAX_ANSWER {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
            Ok(0) => {
                let text = format!("no answer within {} seconds", TIMEOUT.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            Ok(_) => {}
        }
        match stdout.read(&mut buffer)? {
            0 => return Ok(answer),
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
    Err(io::Error::other(format!("more than {MAX_ANSWER} bytes")))
}
