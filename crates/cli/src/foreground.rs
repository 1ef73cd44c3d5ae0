//! `run` in the foreground: the logs of all containers, each line with the name of who wrote it, until all have ended
//! or somebody wants them to.

use crate::exit::{Failure, Result};
use crate::lines::Lines;
use crate::{output, pods, process};
use agent::client::{Client, ForegroundEvent, PodRef};
use rustix::fd::AsFd as _;
use std::collections::BTreeMap;
use sys::signal::Signals;
use view::text::Paint;

/// Shows the pods until they have ended, and gives the exit status: of the first container that failed.
///
/// A first signal asks all to stop, within their grace periods; a second kills them.
pub(crate) fn show(client: &Client, pods: &[PodRef], signals: &Signals) -> Result<u8> {
    let mut foreground = client.foreground(pods)?;
    let mut printer = Printer::new(client, pods)?;
    let mut asked = 0;
    while !foreground.over() {
        foreground.wait(Some(signals.as_fd()))?;
        while signals.read()?.is_some() {
            asked += 1;
            stop(client, pods, asked)?;
        }
        for event in foreground.read(client)? {
            match event {
                ForegroundEvent::Line { pod, container, line } => printer.line(pod, &container, line)?,
                ForegroundEvent::Remark { pod, event } => {
                    pods.get(pod).iter().for_each(|pod| pods::say_remark(pod, &event));
                }
                // Once it is to end, it does not matter any more what could not be started.
                ForegroundEvent::NotStarted { pod, failures } if asked == 0 => {
                    return Err(pods
                        .get(pod)
                        .map_or(Failure::quiet(1), |pod| pods::not_started(pod, &failures)));
                }
                ForegroundEvent::NotStarted { .. } | ForegroundEvent::Ended { .. } => {}
            }
        }
        printer.flush()?;
    }
    printer.rest()?;
    Ok(foreground.exit_code() as u8)
}

fn stop(client: &Client, pods: &[PodRef], asked: u32) -> Result<()> {
    if asked == 1 {
        output::note("stopping; once more to kill");
    }
    for pod in pods {
        client.ask_to_stop(pod, (asked > 1).then_some(0))?;
    }
    Ok(())
}

/// Signals that end a foreground run.
pub(crate) fn signals() -> Result<Signals> {
    Ok(Signals::block(&process::ENDING)?)
}

/// Puts the names before the lines, as wide as the widest.
struct Printer {
    names: BTreeMap<(usize, String), (usize, String)>,
    width: usize,
    lines: Lines<(usize, String)>,
    paint: Paint,
    text: Vec<u8>,
}

impl Printer {
    fn new(client: &Client, pods: &[PodRef]) -> Result<Printer> {
        let mut names = BTreeMap::new();
        for (index, pod) in pods.iter().enumerate() {
            for container in &client.view(pod)?.state().containers {
                let (number, shown) = (names.len(), format!("{}/{}", pod.key.name, container.name));
                names.insert((index, container.name.clone()), (number, shown));
            }
        }
        let width = names.values().map(|(_, name)| name.len()).max().unwrap_or(0);
        Ok(Printer { names, width, lines: Lines::default(), paint: output::stdout_paint(), text: Vec::new() })
    }

    fn line(&mut self, pod: usize, container: &str, line: agent::logs::LogLine) -> Result<()> {
        let source = (pod, container.to_owned());
        if let Some((_, line)) = self.lines.put(source.clone(), line) {
            self.put(&source, &line);
        }
        // A burst is printed in pieces of a bounded size.
        if self.text.len() > 64 * 1024 { self.flush() } else { Ok(()) }
    }

    fn put(&mut self, source: &(usize, String), line: &[u8]) {
        let Some((number, name)) = self.names.get(source) else { return };
        let prefix = format!("{name:<width$} |", width = self.width);
        self.text.extend_from_slice(self.paint.one_of(*number, &prefix).as_bytes());
        if !line.is_empty() {
            self.text.push(b' ');
            self.text.extend_from_slice(line);
        }
        self.text.push(b'\n');
    }

    fn flush(&mut self) -> Result<()> {
        let text = std::mem::take(&mut self.text);
        if text.is_empty() { Ok(()) } else { output::stdout_bytes(&text) }
    }

    /// Lines without an end.
    fn rest(&mut self) -> Result<()> {
        let rest: Vec<_> = self.lines.rest().collect();
        for (source, _, line) in rest {
            self.put(&source, &line);
        }
        self.flush()
    }
}
