//! A peer that behaves, and peers that do not.

use super::*;
use crate::frame::{write_data, write_ping, write_rst_stream, write_syn_stream, write_window_update};

/// What a client has of a connection.
struct Client {
    compressor: Compressor,
    bytes: Vec<u8>,
}

impl Client {
    fn new() -> Client {
        Client { compressor: Compressor::default(), bytes: Vec::new() }
    }

    fn open(&mut self, stream: u32, kind: &str) {
        let block = self.compressor.next(&Headers::new(&[("streamType", kind)]));
        write_syn_stream(&mut self.bytes, StreamId::new(stream), false, &block);
    }

    fn data(&mut self, stream: u32, fin: bool, bytes: &[u8]) {
        write_data(&mut self.bytes, StreamId::new(stream), fin, bytes);
    }
}

/// Gives bytes to a connection in pieces of a size.
fn receive(connection: &mut Connection, bytes: &[u8], size: usize) -> Result<Vec<Event>, ConnectionError> {
    let mut events = Vec::new();
    for piece in bytes.chunks(size) {
        connection.receive(piece, &mut events)?;
    }
    Ok(events)
}

fn told(connection: &mut Connection) -> Vec<u8> {
    connection.take_output()
}

fn id(number: u32) -> StreamId {
    StreamId::new(number)
}

#[test]
fn a_stream_opens_speaks_and_ends_whatever_pieces_it_comes_in() {
    let mut client = Client::new();
    client.open(1, "error");
    client.open(3, "stdin");
    client.data(3, false, b"hello ");
    client.data(3, false, b"");
    client.data(3, true, b"there");
    for size in [1, 2, 7, 8, 9, 1000] {
        let mut connection = Connection::new(10);
        let events = receive(&mut connection, &client.bytes, size).unwrap();
        let kinds: Vec<&str> = events
            .iter()
            .filter_map(|event| match event {
                Event::Opened { headers, .. } => Some(headers.get("streamtype")),
                _ => None,
            })
            .collect();
        assert_eq!(kinds, ["error", "stdin"], "{size}");
        let data: Vec<u8> = events
            .iter()
            .filter_map(|event| match event {
                Event::Data { stream, bytes } if *stream == id(3) => Some(bytes.clone()),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!(data, b"hello there");
        assert_eq!(events.last(), Some(&Event::Ended { stream: id(3) }));
        assert_eq!(connection.unconsumed(), 11);
        connection.consumed(id(3), 11);
        // Half of it is closed, the other half can still be sent on.
        connection.accept(id(3));
        assert_eq!(connection.send(id(3), b"back", true), Ok(4));
        assert_eq!(connection.send(id(3), b"more", false), Err(Gone));
        assert_eq!((connection.open_streams(), connection.unconsumed()), (1, 0));
    }
}

#[test]
fn answers_are_frames_that_our_own_decoder_reads() {
    let mut client = Client::new();
    client.open(1, "stdout");
    write_ping(&mut client.bytes, 7);
    write_ping(&mut client.bytes, 8);
    let mut connection = Connection::new(10);
    receive(&mut connection, &client.bytes, 100).unwrap();
    connection.accept(id(1));
    connection.send(id(1), b"out", true).unwrap();
    connection.go_away(GoAwayStatus::OK);
    let bytes = told(&mut connection);
    let (mut decoder, mut rest, mut found) = (Decoder::default(), bytes.as_slice(), Vec::new());
    while let Some(piece) = decoder.next(&mut rest).unwrap() {
        found.push(piece);
    }
    assert_eq!(found[0], Piece::Control(Control::Ping { id: 7 }));
    let Piece::Control(Control::Headers { stream, block, .. }) = &found[1] else { panic!("{:?}", found[1]) };
    assert_eq!((*stream, Decompressor::new().next(block).unwrap()), (id(1), Headers::default()));
    assert_eq!(found[2], Piece::Data { stream: id(1), bytes: b"out", fin: true });
    assert_eq!(found[3], Piece::Control(Control::GoAway));
    assert_eq!(found.len(), 4);
}

#[test]
fn who_knows_no_windows_is_not_held_to_them_and_who_knows_them_is() {
    let mut client = Client::new();
    client.open(1, "stdout");
    let mut connection = Connection::new(10);
    receive(&mut connection, &client.bytes, 100).unwrap();
    let much = vec![0; 1 << 20];
    let mut sent = 0;
    while sent < much.len() {
        sent += connection.send(id(1), &much[sent..], false).unwrap();
        told(&mut connection);
    }
    // Now it says something of windows: of what it allows all of that is gone.
    let mut update = Vec::new();
    write_window_update(&mut update, id(1), 1 << 20);
    receive(&mut connection, &update, 100).unwrap();
    assert_eq!(connection.send(id(1), &much, false), Ok(0));
    assert_eq!(connection.send(id(1), b"", true), Ok(0));
    let mut connection = Connection::new(10);
    receive(&mut connection, &client.bytes, 100).unwrap();
    let mut update = Vec::new();
    write_window_update(&mut update, StreamId::CONNECTION, 10);
    receive(&mut connection, &update, 100).unwrap();
    let mut sent = 0;
    while let Ok(count @ 1..) = connection.send(id(1), &much[sent..], false) {
        sent += count;
    }
    assert_eq!(sent, WINDOW_BYTES);
    let mut update = Vec::new();
    write_window_update(&mut update, id(1), 100);
    receive(&mut connection, &update, 100).unwrap();
    assert_eq!(connection.send(id(1), &much, false), Ok(10));
    assert_eq!(connection.send(id(1), &much, false), Ok(0));
}

#[test]
fn windows_that_overflow_end_the_stream_or_the_connection() {
    let mut client = Client::new();
    client.open(1, "stdout");
    client.open(3, "stderr");
    write_window_update(&mut client.bytes, id(1), 0x7fff_ffff);
    let mut connection = Connection::new(10);
    let events = receive(&mut connection, &client.bytes, 100).unwrap();
    let reset = Event::Reset { stream: id(1), status: ResetStatus::FLOW_CONTROL_ERROR };
    assert_eq!(events.last(), Some(&reset));
    assert_eq!(connection.open_streams(), 1);
    let mut update = Vec::new();
    write_window_update(&mut update, StreamId::CONNECTION, 0x7fff_ffff);
    assert_eq!(receive(&mut connection, &update, 100), Err(ConnectionError::Window));
    assert_eq!(receive(&mut connection, &update, 100), Err(ConnectionError::Ended));
    // SETTINGS with an initial window of 2³² - 1.
    let settings = [0x80, 3, 0, 4, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(receive(&mut Connection::new(1), &settings, 100), Err(ConnectionError::Window));
}

#[test]
fn consumed_data_opens_the_windows_of_who_sends() {
    let mut client = Client::new();
    client.open(1, "stdin");
    client.data(1, false, &[0; WINDOW_BYTES]);
    let mut connection = Connection::new(10);
    receive(&mut connection, &client.bytes, 4096).unwrap();
    assert_eq!((connection.unconsumed(), connection.output_len()), (WINDOW_BYTES, 0));
    connection.consumed(id(1), TELL_BYTES - 1);
    assert_eq!(connection.output_len(), 0);
    connection.consumed(id(1), 1);
    let mut expected = Vec::new();
    write_window_update(&mut expected, StreamId::CONNECTION, TELL_BYTES as u32);
    write_window_update(&mut expected, id(1), TELL_BYTES as u32);
    assert_eq!(told(&mut connection), expected);
}

#[test]
fn numbers_are_never_used_again() {
    for (first, second) in [(1, 1), (5, 3), (1, 2), (1, 0)] {
        let mut client = Client::new();
        client.open(first, "a");
        client.open(second, "b");
        let mut connection = Connection::new(10);
        let ended = receive(&mut connection, &client.bytes, 100);
        assert_eq!(ended, Err(ConnectionError::StreamNumber(id(second))));
        let goaway = [0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, first as u8, 0, 0, 0, 1];
        assert_eq!(told(&mut connection), goaway);
    }
}

/// Ten thousand streams, of which only so many are open at a time; the headers of those that are refused count for the
/// compression of those that follow.
#[test]
fn streams_beyond_the_bound_are_refused() {
    let mut client = Client::new();
    (0..10_000).for_each(|number| client.open(number * 2 + 1, "data"));
    write_rst_stream(&mut client.bytes, id(1), ResetStatus::CANCEL);
    client.open(20_001, "last");
    let mut connection = Connection::new(100);
    let events = receive(&mut connection, &client.bytes, 1000).unwrap();
    assert_eq!(events.len(), 102);
    assert_eq!(connection.open_streams(), 100);
    let Some(Event::Opened { headers, .. }) = events.last() else { panic!("{:?}", events.last()) };
    assert_eq!(headers.get("streamType"), "last");
    assert_eq!(told(&mut connection).len(), 9_900 * 16);
}

#[test]
fn data_for_streams_that_are_not_is_dropped_and_counted() {
    let mut client = Client::new();
    client.open(1, "a");
    client.data(1, true, b"x");
    client.data(1, false, b"after its end");
    client.data(1, false, b"on its way");
    let mut connection = Connection::new(10);
    let events = receive(&mut connection, &client.bytes, 100).unwrap();
    let reset = Event::Reset { stream: id(1), status: ResetStatus::STREAM_ALREADY_CLOSED };
    assert_eq!(events.last(), Some(&reset));
    assert_eq!((connection.unconsumed(), told(&mut connection).len()), (1, 16));
    let mut client = Client::new();
    client.data(9, false, b"never opened");
    assert_eq!(receive(&mut connection, &client.bytes, 100), Ok(vec![]));
    let mut expected = Vec::new();
    write_rst_stream(&mut expected, id(9), ResetStatus::INVALID_STREAM);
    assert_eq!(told(&mut connection), expected);
}

#[test]
fn what_is_no_spdy_ends_the_connection() {
    let long = [0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff];
    for (bytes, error) in [
        (&[0x80, 2, 0, 1, 0, 0, 0, 0][..], Some(ConnectionError::Version(2))),
        (&long, Some(ConnectionError::FrameLength { kind: 1, length: 0xff_ffff })),
        (&[0x80, 3, 0, 1, 0, 0, 0, 9], Some(ConnectionError::FrameLength { kind: 1, length: 9 })),
        (&[0x80, 3, 0, 6, 0, 0, 0, 5], Some(ConnectionError::FrameLength { kind: 6, length: 5 })),
        (
            &[0x80, 3, 0, 4, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff],
            Some(ConnectionError::FrameLength { kind: 4, length: 4 }),
        ),
        // A kind that nobody knows is passed over, however long.
        (&[0x80, 3, 0xff, 0, 0, 0xff, 0xff, 0xff], None),
    ] {
        let mut connection = Connection::new(10);
        assert_eq!(receive(&mut connection, bytes, 3).err(), error, "{bytes:?}");
        assert_eq!(connection.output_len() > 0, error.is_some());
    }
}
