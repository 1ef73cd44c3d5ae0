//! A pull as it goes on: a line a layer, and one for all.

use crate::text::{cut, printable, size};
use std::time::Duration;

/// What is being done with a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullState {
    /// Nothing yet.
    Queued,
    /// It was here before.
    Present,
    /// Another pull fetches it.
    Waiting,
    /// It comes.
    Downloading,
    /// It broke off; why.
    Retrying(String),
    /// It is here and being unpacked.
    Unpacking,
    /// It is in the store.
    Done,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRow {
    /// Its digest.
    pub digest: String,
    /// What is being done.
    pub state: PullState,
    /// Bytes here.
    pub received: u64,
    /// Bytes in all.
    pub total: u64,
}

/// The lines of a terminal: at most `most` for layers (those that something happens to come first), then the sum.
pub fn lines(rows: &[PullRow], elapsed: Duration, fetched: u64, columns: usize, most: usize) -> Vec<String> {
    let active =
        |row: &&PullRow| !matches!(row.state, PullState::Queued | PullState::Present | PullState::Done);
    let chosen: Vec<&PullRow> = if rows.len() <= most {
        rows.iter().collect()
    } else {
        rows.iter().filter(active).take(most).collect()
    };
    let mut lines: Vec<String> =
        chosen.iter().map(|row| cut(&line(row, columns), columns).into_owned()).collect();
    lines.push(cut(&sum(rows, elapsed, fetched), columns).into_owned());
    lines
}

fn line(row: &PullRow, columns: usize) -> String {
    let digits = row.digest.split_once(':').map_or(row.digest.as_str(), |(_, digits)| digits);
    let id: String = digits.chars().take(12).collect();
    match &row.state {
        PullState::Queued => format!("{id}  queued, {}", size(row.total)),
        PullState::Present => format!("{id}  here already"),
        PullState::Waiting => format!("{id}  waiting for another pull of it"),
        PullState::Retrying(reason) => format!("{id}  trying again: {}", printable(reason)),
        PullState::Unpacking => format!("{id}  unpacking {}", size(row.total)),
        PullState::Done => format!("{id}  done, {}", size(row.total)),
        PullState::Downloading => {
            let numbers = format!("{} of {}", size(row.received), size(row.total));
            let room = columns.saturating_sub(id.len() + 4 + numbers.len() + 2).min(40);
            format!("{id}  {}{numbers}", bar(row.received, row.total, room))
        }
    }
}

/// `[=====     ]  `, in characters that every terminal has; nothing where there is no room.
fn bar(received: u64, total: u64, width: usize) -> String {
    if width < 3 {
        return String::new();
    }
    let inside = width - 2;
    let share = if total == 0 { 1.0 } else { received.min(total) as f64 / total as f64 };
    let full = (share * inside as f64) as usize;
    format!("[{}{}]  ", "=".repeat(full), " ".repeat(inside - full))
}

fn sum(rows: &[PullRow], elapsed: Duration, fetched: u64) -> String {
    let there = rows.iter().filter(|row| matches!(row.state, PullState::Present | PullState::Done)).count();
    let mut text = format!("{there} of {} layers, {}", rows.len(), size(fetched));
    if elapsed >= Duration::from_secs(1) {
        let rate = (fetched as f64 / elapsed.as_secs_f64()) as u64;
        text.push_str(&format!(" in {} s, {}/s", elapsed.as_secs(), size(rate)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn row(digit: char, state: PullState, received: u64) -> PullRow {
        PullRow {
            digest: format!("sha256:{}", digit.to_string().repeat(64)),
            state,
            received,
            total: 20_000_000,
        }
    }

    #[test]
    fn every_state() {
        let rows = [
            row('a', PullState::Present, 0),
            row('b', PullState::Done, 20_000_000),
            row('c', PullState::Downloading, 15_000_000),
            row('d', PullState::Retrying("it broke\x1b[2J".into()), 1),
            row('e', PullState::Unpacking, 20_000_000),
            row('f', PullState::Waiting, 0),
            row('0', PullState::Queued, 0),
        ];
        let text = lines(&rows, Duration::from_secs(7), 35_000_001, 80, 10).join("\n");
        expect![[r"
            aaaaaaaaaaaa  here already
            bbbbbbbbbbbb  done, 19.1 MiB
            cccccccccccc  [============================          ]  14.3 MiB of 19.1 MiB
            dddddddddddd  trying again: it broke\x1b[2J
            eeeeeeeeeeee  unpacking 19.1 MiB
            ffffffffffff  waiting for another pull of it
            000000000000  queued, 19.1 MiB
            2 of 7 layers, 33.4 MiB in 7 s, 4.8 MiB/s"]]
        .assert_eq(&text);
    }

    #[test]
    fn small_terminals() {
        let rows = [
            row('a', PullState::Done, 1),
            row('c', PullState::Downloading, 1),
            row('0', PullState::Queued, 0),
        ];
        let text = lines(&rows, Duration::ZERO, 1, 30, 2).join("\n");
        expect![[r"
            cccccccccccc  1 B of 19.1 MiB
            1 of 3 layers, 1 B"]]
        .assert_eq(&text);
        assert!(lines(&rows, Duration::ZERO, 1, 10, 3).iter().all(|line| crate::text::width(line) <= 10));
    }
}
