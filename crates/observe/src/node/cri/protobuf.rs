//! Protocol buffers as far as they are read here: fields by number, those of bytes among them.

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field<'a> {
    /// Bytes: text, or a message.
    Bytes(&'a [u8]),
    /// A number of any kind, which nobody asks for.
    Number,
}

impl<'a> Field<'a> {
    pub(super) fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Field::Bytes(bytes) => Some(bytes),
            Field::Number => None,
        }
    }
}

/// The fields of a message, in their order, up to its end or to what is none.
pub(super) fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, Field<'_>)> {
    std::iter::from_fn(move || {
        let key = varint(&mut message)?;
        let field = match key & 7 {
            0 => varint(&mut message).map(|_| Field::Number),
            1 => take(&mut message, 8).map(|_| Field::Number),
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                take(&mut message, length).map(Field::Bytes)
            }
            5 => take(&mut message, 4).map(|_| Field::Number),
            _ => None,
        };
        Some((key >> 3, field?))
    })
}

/// The last field of bytes with this number.
pub(super) fn bytes_of(message: &[u8], number: u64) -> Option<&[u8]> {
    fields(message).filter(|(found, _)| *found == number).filter_map(|(_, field)| field.bytes()).last()
}

/// The same as text that is not empty.
pub(super) fn text_of(message: &[u8], number: u64) -> Option<String> {
    let text = std::str::from_utf8(bytes_of(message, number)?).ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(taken)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for at in 0..10 {
        let byte = *take(message, 1)?.first()?;
        value |= u64::from(byte & 0x7f).checked_shl(at * 7)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_kind() {
        let message = [
            0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x25, 1, 2, 3, 4, 0x12, 1,
            b'x',
        ];
        let found: Vec<_> = fields(&message).collect();
        let expected = [
            (1, Field::Number),
            (2, Field::Bytes(b"hi")),
            (3, Field::Number),
            (4, Field::Number),
            (2, Field::Bytes(b"x")),
        ];
        assert_eq!(found, expected);
        assert_eq!(text_of(&message, 2).as_deref(), Some("x"));
        assert_eq!(bytes_of(&message, 1), None);
        // Too short, too long a number, a kind that is none.
        for bad in [
            &[0x12, 9, 1][..],
            &[0xff; 12],
            &[0x0b],
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        ] {
            assert_eq!(fields(bad).count(), 0, "{bad:?}");
        }
    }
}
