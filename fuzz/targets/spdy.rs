//! SPDY/3.1, as a client that has been let in sends it: frames, header blocks, windows.

use spdy::{Connection, Event, MAX_HEADER_BYTES, ResetStatus};

/// Heads of frames, and pieces of them.
pub(crate) const WORDS: &[&str] = &[
    "\u{0}\u{0}\u{0}\u{1}\u{1}\u{0}\u{0}\u{0}",
    "\u{0}\u{0}\u{0}\u{3}\u{0}\u{0}\u{0}\u{4}data",
    "\u{0}\u{1}",
    "\u{0}\u{3}",
    "\u{0}\u{4}\u{0}\u{0}\u{0}\u{c}\u{0}\u{0}\u{0}\u{1}\u{0}\u{0}\u{0}\u{7}",
    "\u{0}\u{6}\u{0}\u{0}\u{0}\u{4}\u{0}\u{0}\u{0}\u{1}",
    "\u{0}\u{9}\u{0}\u{0}\u{0}\u{8}\u{0}\u{0}\u{0}\u{0}\u{7f}\u{7f}\u{7f}\u{7f}",
    "\u{7f}\u{7f}\u{7f}\u{7f}",
    "\u{0}\u{0}\u{0}\u{5}",
    "x",
];

/// Streams that may be open at a time.
const MOST_STREAMS: usize = 5;

/// Any bytes give the same events in one piece as in many, and no more than there was.
pub(crate) fn run(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else { return };
    let whole = events_of(bytes, bytes.len());
    let pieces = events_of(bytes, usize::from(*size));
    assert_eq!(joined(whole), joined(pieces));
    answer(bytes, usize::from(*size));
}

fn events_of(bytes: &[u8], size: usize) -> Vec<Event> {
    let mut connection = Connection::new(MOST_STREAMS);
    let mut events = Vec::new();
    for piece in bytes.chunks(size.max(1)) {
        if connection.receive(piece, &mut events).is_err() {
            break;
        }
        assert!(connection.open_streams() <= MOST_STREAMS);
        assert!(connection.unconsumed() <= bytes.len());
    }
    events
}

/// Data is told in pieces as it comes: those of one stream that follow each other are one.
fn joined(events: Vec<Event>) -> Vec<Event> {
    let mut all: Vec<Event> = Vec::new();
    for event in events {
        match (all.last_mut(), event) {
            (Some(Event::Data { stream: before, bytes: had }), Event::Data { stream, bytes })
                if *before == stream =>
            {
                had.extend(bytes);
            }
            (_, Event::Opened { stream, headers }) => {
                assert!(
                    headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
                        <= MAX_HEADER_BYTES
                );
                all.push(Event::Opened { stream, headers });
            }
            (_, event) => all.push(event),
        }
    }
    all
}

/// As a server that says back what it hears, and loses patience now and then.
fn answer(bytes: &[u8], size: usize) {
    let mut connection = Connection::new(MOST_STREAMS);
    for piece in bytes.chunks(size.max(1)) {
        let mut events = Vec::new();
        let done = connection.receive(piece, &mut events);
        for event in events {
            match event {
                Event::Opened { stream, .. } => connection.accept(stream),
                Event::Data { stream, bytes } => {
                    let sent = connection.send(stream, &bytes, bytes.len() % 7 == 0);
                    assert!(sent.is_ok_and(|sent| sent <= bytes.len()) || sent.is_err());
                    connection.consumed(stream, bytes.len());
                    if bytes.len() % 11 == 0 {
                        connection.reset(stream, ResetStatus::CANCEL);
                    }
                }
                Event::Ended { stream } => drop(connection.send(stream, b"", true)),
                Event::Reset { .. } | Event::GoAway => {}
            }
        }
        assert_eq!(connection.unconsumed(), 0);
        connection.take_output();
        if done.is_err() {
            assert!(connection.receive(piece, &mut Vec::new()).is_err());
            return;
        }
    }
}
