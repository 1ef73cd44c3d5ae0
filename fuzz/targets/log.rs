//! Container logs: a container chooses what is in the lines, and who reads may find a file that was damaged.

use agent::logs::{LogReader, parse_line};

/// Words of the format.
pub(crate) const WORDS: &[&str] = &[
    " stdout F ",
    " stderr P ",
    " stdout P:x ",
    "2026-01-02T03:04:05.000000000Z",
    "1970-01-01T00:00:00Z",
    "\n",
    " ",
    "\u{0}",
    "\u{1b}[2J",
    "\r",
    "9999-12-31T23:59:60Z",
    "-009999-01-01T00:00:00Z",
];

/// Every line can be parsed or is left out, and a reader comes to the end of any file.
pub(crate) fn run(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Some(parsed) = parse_line(line) {
            assert!(parsed.content.len() < line.len());
        }
    }
    let dir = super::temporary_directory();
    let path = dir.path().join("0.log");
    std::fs::write(&path, bytes).expect("write");
    let mut reader = LogReader::new(path);
    let mut seen = 0;
    // Bounded by what is read in one go, which is at least a byte.
    for _ in 0..=bytes.len() {
        let lines = reader.read().expect("read");
        seen += lines.iter().map(|line| line.content.len()).sum::<usize>();
        if lines.is_empty() {
            break;
        }
    }
    assert!(seen <= bytes.len());
}
