//! D-Bus messages as bytes: as much of the format as talking to systemd takes. Pure.

/// The largest message that is read: systemd's answers are a few hundred bytes.
pub(super) const MESSAGE_BYTES: usize = 1 << 20;

/// Kinds of messages.
pub(super) const CALL: u8 = 1;
pub(super) const RETURN: u8 = 2;
pub(super) const ERROR: u8 = 3;
pub(super) const SIGNAL: u8 = 4;

/// Length of the part of the header that says how long the rest is.
pub(super) const FIXED_BYTES: usize = 16;

/// A property's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Value {
    Text(String),
    Bool(bool),
    Int(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    Bytes(Vec<u8>),
    U32s(Vec<u32>),
    Texts(Vec<String>),
    TextPairs(Vec<(String, String)>),
}

impl Value {
    fn signature(&self) -> &'static str {
        match self {
            Self::Text(_) => "s",
            Self::Bool(_) => "b",
            Self::Int(_) => "i",
            Self::U32(_) => "u",
            Self::I64(_) => "x",
            Self::U64(_) => "t",
            Self::Bytes(_) => "ay",
            Self::U32s(_) => "au",
            Self::Texts(_) => "as",
            Self::TextPairs(_) => "a(ss)",
        }
    }
}

/// Bytes in the making. Everything is aligned to its own size, counted from the beginning of the message.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.align(8);
        self.0.extend(value.to_le_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.0.push(signature.len() as u8);
        self.0.extend(signature.as_bytes());
        self.0.push(0);
    }

    /// Its length does not count what aligns the first element.
    pub(super) fn array(&mut self, alignment: usize, elements: impl FnOnce(&mut Self)) {
        self.u32(0);
        let length = self.0.len();
        self.align(alignment);
        let start = self.0.len();
        elements(self);
        let bytes = ((self.0.len() - start) as u32).to_le_bytes();
        if let Some(place) = self.0.get_mut(length - 4..length) {
            place.copy_from_slice(&bytes);
        }
    }

    fn variant(&mut self, value: &Value) {
        self.signature(value.signature());
        match value {
            Value::Text(text) => self.text(text),
            Value::Bool(value) => self.u32((*value).into()),
            Value::Int(value) => self.u32(value.cast_unsigned()),
            Value::U32(value) => self.u32(*value),
            Value::I64(value) => self.u64(value.cast_unsigned()),
            Value::U64(value) => self.u64(*value),
            Value::Bytes(bytes) => self.array(1, |all| all.0.extend(bytes)),
            Value::U32s(list) => self.array(4, |all| list.iter().for_each(|one| all.u32(*one))),
            Value::Texts(list) => self.array(4, |all| list.iter().for_each(|one| all.text(one))),
            Value::TextPairs(list) => self.array(8, |all| {
                for (one, other) in list {
                    all.align(8);
                    all.text(one);
                    all.text(other);
                }
            }),
        }
    }

    /// `a(sv)`.
    pub(super) fn properties(&mut self, properties: &[(String, Value)]) {
        self.array(8, |all| {
            for (name, value) in properties {
                all.align(8);
                all.text(name);
                all.variant(value);
            }
        });
    }
}

/// What a message is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) serial: u32,
    pub(super) reply_to: u32,
    pub(super) destination: String,
    pub(super) path: String,
    pub(super) interface: String,
    pub(super) member: String,
    pub(super) error: String,
    pub(super) signature: String,
    pub(super) body: Vec<u8>,
}

impl Message {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut all = Writer(vec![b'l', self.kind, 0, 1]);
        all.u32(self.body.len() as u32);
        all.u32(self.serial);
        all.array(8, |fields| {
            let texts = [
                (1, "o", &self.path),
                (2, "s", &self.interface),
                (3, "s", &self.member),
                (4, "s", &self.error),
                (6, "s", &self.destination),
            ];
            for (code, kind, text) in texts.into_iter().filter(|(_, _, text)| !text.is_empty()) {
                fields.align(8);
                fields.0.push(code);
                fields.signature(kind);
                fields.text(text);
            }
            if self.reply_to != 0 {
                fields.align(8);
                fields.0.push(5);
                fields.signature("u");
                fields.u32(self.reply_to);
            }
            if !self.signature.is_empty() {
                fields.align(8);
                fields.0.push(8);
                fields.signature("g");
                fields.signature(&self.signature);
            }
        });
        all.align(8);
        all.0.extend(&self.body);
        all.0
    }

    /// How long a message is of which the beginning is known; `None` if it is none, or too long.
    pub(super) fn length(fixed: &[u8; FIXED_BYTES]) -> Option<usize> {
        let reader = Reader {
            bytes: fixed,
            at: 0,
        };
        let number = |at: usize| Reader { at, ..reader }.u32();
        let (body, fields) = (number(4)? as usize, number(12)? as usize);
        let length = fields
            .checked_add(FIXED_BYTES)?
            .checked_next_multiple_of(8)?;
        let length = length.checked_add(body)?;
        (fixed[0] == b'l' && length <= MESSAGE_BYTES).then_some(length)
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let mut found = Self {
            kind: *bytes.get(1)?,
            ..Self::default()
        };
        reader.at = 4;
        let body = reader.u32()? as usize;
        found.serial = reader.u32()?;
        let end = reader.u32()? as usize + FIXED_BYTES;
        while reader.at < end {
            reader.at = reader.at.next_multiple_of(8);
            let code = *bytes.get(reader.at)?;
            reader.at += 1;
            match (code, reader.signature()?.as_str()) {
                (5, "u") => found.reply_to = reader.u32()?,
                (8, "g") => found.signature = reader.signature()?,
                (_, "u") => drop(reader.u32()?),
                (_, "g") => drop(reader.signature()?),
                (_, "s" | "o") => {
                    let text = reader.text()?;
                    match code {
                        1 => found.path = text,
                        2 => found.interface = text,
                        3 => found.member = text,
                        4 => found.error = text,
                        6 => found.destination = text,
                        _ => {}
                    }
                }
                _ => return None,
            }
        }
        let start = end.next_multiple_of(8);
        found.body = bytes.get(start..start.checked_add(body)?)?.to_vec();
        Some(found)
    }
}

/// Bytes being read; everything is `None` behind the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'b> {
    pub(super) bytes: &'b [u8],
    pub(super) at: usize,
}

impl Reader<'_> {
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.at = self.at.next_multiple_of(4);
        let bytes = self.bytes.get(self.at..self.at.checked_add(4)?)?;
        self.at += 4;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    pub(super) fn text(&mut self) -> Option<String> {
        let length = self.u32()? as usize;
        self.words(length)
    }

    fn signature(&mut self) -> Option<String> {
        let length = usize::from(*self.bytes.get(self.at)?);
        self.at += 1;
        self.words(length)
    }

    fn words(&mut self, length: usize) -> Option<String> {
        let bytes = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length + 1;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_survive_the_wire() {
        let mut body = Writer::default();
        body.text("a.scope");
        body.properties(&[
            ("Delegate".to_owned(), Value::Bool(true)),
            ("PIDs".to_owned(), Value::U32s(vec![7])),
            ("TasksMax".to_owned(), Value::U64(9)),
        ]);
        let message = Message {
            kind: CALL,
            serial: 3,
            destination: "org.x".to_owned(),
            path: "/org/x".to_owned(),
            interface: "org.x.Y".to_owned(),
            member: "Do".to_owned(),
            signature: "sa(sv)".to_owned(),
            body: body.0,
            ..Message::default()
        };
        let bytes = message.to_bytes();
        let fixed = bytes[..FIXED_BYTES].try_into().unwrap();
        assert_eq!(Message::length(&fixed), Some(bytes.len()));
        assert_eq!(Message::parse(&bytes), Some(message));
    }

    /// Against bytes written out by hand from the D-Bus specification.
    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let message = Message {
            kind: RETURN,
            serial: 2,
            reply_to: 1,
            signature: "s".to_owned(),
            body: b"\x02\0\0\0hi\0".to_vec(),
            ..Message::default()
        };
        let expected = b"l\x02\0\x01\x07\0\0\0\x02\0\0\0\x0f\0\0\0\
            \x05\x01u\0\x01\0\0\0\x08\x01g\0\x01s\0\0\x02\0\0\0hi\0";
        assert_eq!(message.to_bytes(), expected);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(Message::parse(&bytes));
            if let Some(fixed) = bytes.first_chunk() {
                prop_assert!(Message::length(fixed).is_none_or(|length| length <= MESSAGE_BYTES));
            }
        }
    }
}
