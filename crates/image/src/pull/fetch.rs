//! All layers of an image into the store: a few at a time, each tried again a bounded number of times.

use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::http::StatusCode;

use super::client::{Ask, Endpoint};
use super::partial::{self, Partial};
use super::progress::{LayerState, Progress};
use super::registry_error::RegistryError;
use super::{PullOptions, message};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::import::{Expected, unpack_layer};
use crate::inspect::{Blob, OriginLayer};
use crate::oci::Descriptor;
use crate::store::{LayerWriter, Store};

/// Since a byte last came.
const FRUITLESS_TRIES: u32 = 6;
/// However much comes each time.
const ALL_TRIES: u32 = 200;
const MAX_WAIT: Duration = Duration::from_secs(15);
/// How soon a waiting thread sees that the pull has failed, or that another pull is done.
const TICK: Duration = Duration::from_millis(50);
const MAX_JOBS: usize = 16;
const CHUNK: usize = 256 * 1024;

/// How long to wait after the `attempt`th failure, the first being 1.
pub(crate) fn wait(first: Duration, attempt: u32, error: &RegistryError) -> Duration {
    let doubled = first.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(MAX_WAIT);
    error.retry_after().unwrap_or_default().max(doubled)
}

/// Fetching from one endpoint.
pub(crate) struct Fetch<'a> {
    layers: &'a LayerWriter<'a>,
    dir: PathBuf,
    endpoint: &'a Endpoint,
    options: &'a PullOptions,
    report: &'a (dyn Fn(Progress) + Sync),
    stop: AtomicBool,
    downloaded: AtomicU64,
}

impl<'a> Fetch<'a> {
    pub(crate) fn new(
        store: &'a Store,
        layers: &'a LayerWriter<'a>,
        endpoint: &'a Endpoint,
        options: &'a PullOptions,
        report: &'a (dyn Fn(Progress) + Sync),
    ) -> Result<Fetch<'a>> {
        let dir = store.path("blobs");
        partial::prepare(&dir)?;
        let (stop, downloaded) = (AtomicBool::new(false), AtomicU64::new(0));
        Ok(Fetch { layers, dir, endpoint, options, report, stop, downloaded })
    }

    /// Brings all layers in and gives the bytes that were fetched for that. The first failure ends all.
    pub(crate) fn all(&self, layers: &[OriginLayer]) -> Result<u64> {
        let next = AtomicUsize::new(0);
        let failure: Mutex<Option<Error>> = Mutex::new(None);
        let work = || {
            while let Some(layer) = layers.get(next.fetch_add(1, Ordering::Relaxed)) {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                if let Err(error) = self.layer(layer) {
                    self.stop.store(true, Ordering::Relaxed);
                    let mut first = failure.lock().unwrap_or_else(PoisonError::into_inner);
                    if !matches!(error, Error::Registry(RegistryError::Stopped)) {
                        first.get_or_insert(error);
                    }
                    return;
                }
            }
        };
        let jobs = self.options.jobs.min(layers.len()).clamp(1, MAX_JOBS);
        std::thread::scope(|scope| {
            for _ in 1..jobs {
                // Where there are no more threads to be had, fewer do it.
                let _ = std::thread::Builder::new().name("pull".to_owned()).spawn_scoped(scope, work);
            }
            work();
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(self.downloaded.load(Ordering::Relaxed)),
        }
    }

    fn say(&self, digest: &Digest, state: LayerState) {
        (self.report)(Progress::Layer { digest: digest.clone(), state });
    }

    fn go_on(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(RegistryError::Stopped.into()) } else { Ok(()) }
    }

    fn pause(&self, length: Duration) -> Result<()> {
        let end = Instant::now() + length;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.go_on()?;
            std::thread::sleep(left.min(TICK));
        }
        self.go_on()
    }

    fn layer(&self, layer: &OriginLayer) -> Result<()> {
        let OriginLayer { diff_id, blob } = layer;
        if self.layers.has(diff_id)? {
            self.say(&blob.digest, LayerState::Present);
            return Ok(());
        }
        let mut waiting = false;
        let mut partial = Partial::open(&self.dir, &blob.digest, blob.size, || {
            if !std::mem::replace(&mut waiting, true) {
                self.say(&blob.digest, LayerState::Waiting);
            }
            self.pause(TICK)
        })?;
        // Whoever was waited for has brought it in.
        if self.layers.has(diff_id)? {
            self.say(&blob.digest, LayerState::Present);
            return partial.remove();
        }
        if let Err(error) = self.download(blob, &mut partial) {
            // Nothing is nothing to go on from, and a full disk is not helped by what is kept for later.
            if partial.have() == 0 || matches!(error, Error::Io { .. }) {
                partial.remove()?;
            }
            return Err(error);
        }
        self.say(&blob.digest, LayerState::Unpacking);
        let descriptor = Descriptor {
            media_type: blob.media_type.clone(),
            digest: blob.digest.to_string(),
            size: blob.size,
            annotations: Default::default(),
            platform: None,
        };
        let expected = Expected { diff_id, blob: Some(&descriptor) };
        let (name, limits) = (blob.digest.to_string(), &self.options.limits);
        let path = self.dir.join(blob.digest.hex());
        let unpacked = unpack_layer(partial.reader()?, &path, &name, Some(expected), limits, self.layers);
        // Also where it cannot be unpacked: it is what the registry has, and would be no better next time.
        partial.remove()?;
        unpacked?;
        self.say(&blob.digest, LayerState::Done);
        Ok(())
    }

    /// Until the whole blob is in the file and is what it should be.
    fn download(&self, blob: &Blob, partial: &mut Partial) -> Result<()> {
        let (mut fruitless, mut attempts) = (0, 0);
        loop {
            let before = partial.have();
            let streamed = if partial.is_complete() { Ok(()) } else { self.stream(blob, partial) };
            let error = match streamed {
                Ok(()) => match partial.check() {
                    Ok(()) => return Ok(()),
                    // The beginning is from another time, and may be what is wrong.
                    Err(_) if partial.resumed() => {
                        partial.restart()?;
                        continue;
                    }
                    Err(error) => {
                        // Nothing is gained by keeping it.
                        partial.restart()?;
                        return Err(error);
                    }
                },
                Err(Error::Registry(error)) if error.is_transient() => error,
                Err(error) => return Err(error),
            };
            attempts += 1;
            fruitless = if partial.have() > before { 1 } else { fruitless + 1 };
            if fruitless >= FRUITLESS_TRIES || attempts >= ALL_TRIES {
                return Err(error.into());
            }
            let wait = wait(self.options.retry_wait, fruitless, &error);
            let reason = message::cause(&Error::Registry(error));
            self.say(&blob.digest, LayerState::Retrying { reason, wait });
            self.pause(wait)?;
        }
    }

    /// One connection's worth of it.
    fn stream(&self, blob: &Blob, partial: &mut Partial) -> Result<()> {
        let what = format!("blobs/{}", blob.digest);
        let url = self.endpoint.url(&what);
        let response = match self.endpoint.ask(&what, Ask::Blob { offset: partial.have() }) {
            // It does not believe that there is more than we have.
            Err(RegistryError::Status { status: 416, .. }) if partial.have() > 0 => {
                partial.restart()?;
                self.endpoint.ask(&what, Ask::Blob { offset: 0 })?
            }
            response => response?,
        };
        let at = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = response.headers().get("content-range").and_then(|v| v.to_str().ok());
                range.and_then(first_byte)
            }
            _ => Some(0),
        };
        if at != Some(partial.have()) {
            // All of it, or another part than we asked for.
            partial.restart()?;
            if at != Some(0) {
                return Err(self.cut(&url, blob, partial, None).into());
            }
        }
        self.copy(&url, blob, response.into_body().into_reader(), partial)
    }

    fn copy(&self, url: &str, blob: &Blob, mut body: impl Read, partial: &mut Partial) -> Result<()> {
        let mut buffer = vec![0_u8; CHUNK];
        let total = blob.size;
        self.say(&blob.digest, LayerState::Downloading { received: partial.have(), total });
        while !partial.is_complete() {
            self.go_on()?;
            match body.read(&mut buffer) {
                Ok(0) => return Err(self.cut(url, blob, partial, None).into()),
                Ok(read) => {
                    partial.write(&buffer[..read])?;
                    self.downloaded.fetch_add(read as u64, Ordering::Relaxed);
                    self.say(&blob.digest, LayerState::Downloading { received: partial.have(), total });
                }
                Err(e) => return Err(self.cut(url, blob, partial, Some(e)).into()),
            }
        }
        Ok(())
    }

    fn cut(
        &self,
        url: &str,
        blob: &Blob,
        partial: &Partial,
        source: Option<std::io::Error>,
    ) -> RegistryError {
        RegistryError::Cut { url: url.to_owned(), received: partial.have(), expected: blob.size, source }
    }
}

/// `bytes 100-199/200` → 100.
fn first_byte(range: &str) -> Option<u64> {
    range.trim().strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(first_byte("bytes 100-199/200"), Some(100));
        assert_eq!(first_byte("bytes */200"), None);
        assert_eq!(first_byte("lines 1-2"), None);
    }

    #[test]
    fn waits_double_to_a_bound_and_respect_the_registry() {
        let error = |after| RegistryError::Status {
            url: String::new(),
            status: 429,
            message: String::new(),
            retry_after: after,
        };
        let first = Duration::from_millis(500);
        assert_eq!(wait(first, 1, &error(None)), first);
        assert_eq!(wait(first, 3, &error(None)), first * 4);
        assert_eq!(wait(first, u32::MAX, &error(None)), MAX_WAIT);
        assert_eq!(wait(first, 1, &error(Some(first * 9))), first * 9);
    }
}
