//! Protocol Buffers as far as CRIU's messages need them: numbers, texts and messages in messages. Pure.
//!
//! # References
//! Protocol Buffers documentation, "Encoding".

/// A message that is being made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message(Vec<u8>);

/// How a value is written.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;
const FIXED_32: u64 = 5;

impl Message {
    /// Adds a number. A negative one takes ten bytes, which is how the format has it.
    pub(super) fn number(&mut self, field: u32, value: impl Into<i64>) -> &mut Self {
        self.key(field, VARINT);
        self.varint(value.into().cast_unsigned());
        self
    }

    /// Adds a flag, if it is set: what is left out is false.
    pub(super) fn flag(&mut self, field: u32, value: bool) -> &mut Self {
        if value {
            self.number(field, 1);
        }
        self
    }

    /// Adds a text.
    pub(super) fn text(&mut self, field: u32, text: impl AsRef<[u8]>) -> &mut Self {
        let text = text.as_ref();
        self.key(field, BYTES);
        self.varint(text.len() as u64);
        self.0.extend_from_slice(text);
        self
    }

    /// Adds a message.
    pub(super) fn message(&mut self, field: u32, message: &Self) -> &mut Self {
        self.text(field, &message.0)
    }

    /// The bytes to be sent.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn key(&mut self, field: u32, kind: u64) {
        self.varint(u64::from(field) << 3 | kind);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'b> {
    Number(u64),
    Bytes(&'b [u8]),
}

impl<'b> Value<'b> {
    pub(super) fn is_true(self) -> bool {
        matches!(self, Self::Number(number) if number != 0)
    }

    /// A 32-bit number; a text has none.
    pub(super) fn number(self) -> i32 {
        match self {
            // Negative numbers are sign-extended.
            Self::Number(number) => number as i32,
            Self::Bytes(_) => 0,
        }
    }

    pub(super) fn bytes(self) -> &'b [u8] {
        match self {
            Self::Number(_) => &[],
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// The fields of a message, in its order; ends with an error where it is damaged. Values of kinds that CRIU does not use are skipped.
pub(super) struct Fields<'b>(&'b [u8]);

/// The bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is damaged")]
pub(super) struct Damaged;

impl<'b> Fields<'b> {
    pub(super) fn of(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    fn varint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(Damaged)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Damaged)
    }

    fn take(&mut self, length: u64) -> Result<&'b [u8], Damaged> {
        let length = usize::try_from(length).map_err(|_| Damaged)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<Option<(u32, Value<'b>)>, Damaged> {
        let key = self.varint()?;
        let field = u32::try_from(key >> 3).map_err(|_| Damaged)?;
        Ok(match key & 7 {
            VARINT => Some((field, Value::Number(self.varint()?))),
            BYTES => {
                let length = self.varint()?;
                Some((field, Value::Bytes(self.take(length)?)))
            }
            FIXED_64 => self.take(8).map(|_| None)?,
            FIXED_32 => self.take(4).map(|_| None)?,
            _ => return Err(Damaged),
        })
    }
}

impl<'b> Iterator for Fields<'b> {
    type Item = Result<(u32, Value<'b>), Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            match self.field() {
                Ok(Some(field)) => return Some(Ok(field)),
                Ok(None) => {}
                Err(damaged) => {
                    self.0 = &[];
                    return Some(Err(damaged));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_are_written_as_the_documentation_shows() {
        // The documentation's own examples.
        assert_eq!(
            Message::default().number(1, 150).bytes(),
            [0x08, 0x96, 0x01]
        );
        let mut text = Message::default();
        assert_eq!(
            text.text(2, "testing").bytes(),
            [0x12, 7, b't', b'e', b's', b't', b'i', b'n', b'g']
        );
        let mut inner = Message::default();
        inner.number(1, 150);
        assert_eq!(
            Message::default().message(3, &inner).bytes(),
            [0x1a, 3, 0x08, 0x96, 0x01]
        );
        // Minus two, ten bytes.
        assert_eq!(
            Message::default().number(1, -2).bytes(),
            [
                8, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01
            ]
        );
        // Fields above 15 have a longer key.
        assert_eq!(
            Message::default().flag(37, true).flag(1, false).bytes(),
            [0xa8, 0x02, 1]
        );
    }

    #[test]
    fn what_is_damaged_is_told() {
        for bytes in [
            &[0x08][..],
            &[0x12, 5, 1],
            &[0x0b, 1],
            &[0x80; 11],
            &[
                0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
            ],
            &[0x0d, 1],
        ] {
            let read: Result<Vec<_>, _> = Fields::of(bytes).collect();
            assert_eq!(read, Err(Damaged), "{bytes:?}");
        }
        // Kinds that are not used are passed over.
        let read: Vec<_> = Fields::of(&[0x0d, 1, 2, 3, 4, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x18, 1])
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(read, [(3, Value::Number(1))]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number: i32, text: Vec<u8>, first in 1_u32..1000, second in 1_u32..1000) {
            let mut message = Message::default();
            message.number(first, number).text(second, &text);
            let read: Vec<_> = Fields::of(message.bytes()).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(read.len(), 2);
            prop_assert_eq!((read[0].0, read[0].1.number()), (first, number));
            prop_assert_eq!(read[1], (second, Value::Bytes(&text)));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            drop(Fields::of(&bytes).collect::<Vec<_>>());
        }
    }
}
