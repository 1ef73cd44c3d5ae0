//! Whether a client has gone, also while nothing is read from it: what it sent before it went can lie in the socket for
//! as long as the process that it was sent to reads nothing, and its end lies behind that.
//!
//! poll(2) tells of the end all the same (`POLLRDHUP`) if it has come. It has not while there is no room for what was sent
//! before it: then it is in the client's own kernel, which answers with a reset to anything that it is sent.

use rustix::fd::{AsFd, OwnedFd};
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// How often a client whose input nobody reads is asked whether it is there.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// The socket of a connection, to be asked.
#[derive(Debug, Clone)]
pub(crate) struct Hangup {
    socket: Arc<OwnedFd>,
}

impl Hangup {
    /// Of a socket, of which a copy is taken; none where there are no more descriptors.
    pub(crate) fn of(socket: impl AsFd) -> Option<Hangup> {
        let copy = rustix::io::fcntl_dupfd_cloexec(socket, 3).ok()?;
        Some(Hangup { socket: Arc::new(copy) })
    }

    /// Ends when the other side has closed, for writing at least.
    pub(crate) async fn wait(&self) {
        let Ok(socket) = self.registered() else {
            // Then it is noticed when the socket is read.
            return pending().await;
        };
        while let Ok(ready) = socket.ready(Interest::READABLE).await {
            if ready.is_read_closed() {
                return;
            }
            // More has come, which is for others to read: as far as the waiting goes, there is nothing left.
            let forget = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _ = socket.try_io(Interest::READABLE, forget);
        }
    }

    /// Only waited for, whichever kind of socket it is.
    fn registered(&self) -> io::Result<UnixStream> {
        let copy = std::os::unix::net::UnixStream::from(self.socket.try_clone()?);
        copy.set_nonblocking(true)?;
        UnixStream::from_std(copy)
    }
}

/// While nothing is read from a client: ends when it has gone. Now and then `ask` is to send it something that it does not
/// mind.
pub(crate) async fn until_gone(hangup: Option<&Hangup>, ask: impl Fn()) {
    let asking = async {
        loop {
            tokio::time::sleep(ASK_EVERY).await;
            ask();
        }
    };
    let gone = async {
        match hangup {
            Some(hangup) => hangup.wait().await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = gone => {}
        () = asking => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[tokio::test]
    async fn an_end_behind_what_is_not_read_is_seen() {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let hangup = Hangup::of(&ours).unwrap();
        theirs.write_all(b"never read").unwrap();
        let early = tokio::time::timeout(Duration::from_millis(50), hangup.wait()).await;
        assert!(early.is_err(), "it is still there");
        drop(theirs);
        tokio::time::timeout(Duration::from_secs(30), hangup.wait()).await.expect("it has gone");
    }
}
