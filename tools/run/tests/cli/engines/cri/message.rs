//! Messages of protocol buffers, by the numbers of their fields.

/// A message that is being written.
#[derive(Clone, Debug, Default)]
pub(super) struct Message(pub(super) Vec<u8>);

impl Message {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn number(mut self, field: u32, value: i64) -> Self {
        self.varint(u64::from(field) << 3);
        self.varint(value.cast_unsigned());
        self
    }

    pub(super) fn flag(self, field: u32, value: bool) -> Self {
        self.number(field, i64::from(value))
    }

    pub(super) fn text(self, field: u32, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    pub(super) fn texts(self, field: u32, list: &[&str]) -> Self {
        list.iter()
            .fold(self, |message, text| message.text(field, text))
    }

    pub(super) fn part(self, field: u32, part: Message) -> Self {
        self.bytes(field, &part.0)
    }

    /// An entry of a map of texts.
    pub(super) fn entry(self, field: u32, key: &str, value: &str) -> Self {
        self.part(field, Message::new().text(1, key).text(2, value))
    }

    fn bytes(mut self, field: u32, bytes: &[u8]) -> Self {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// A message that has come.
#[derive(Clone, Debug)]
pub(super) struct Reply(pub(super) Vec<u8>);

impl Reply {
    /// The last value of a field, zero if there is none.
    pub(super) fn number(&self, field: u32) -> i64 {
        let mut values = self.fields().into_iter().filter(|found| found.0 == field);
        values.next_back().map_or(0, |found| found.1.cast_signed())
    }

    pub(super) fn text(&self, field: u32) -> String {
        String::from_utf8_lossy(&self.part(field).0).into_owned()
    }

    /// The last message of a field, an empty one if there is none.
    pub(super) fn part(&self, field: u32) -> Reply {
        self.parts(field).pop().unwrap_or(Reply(Vec::new()))
    }

    pub(super) fn parts(&self, field: u32) -> Vec<Reply> {
        let values = self.fields().into_iter().filter(|found| found.0 == field);
        values.map(|found| Reply(found.2.to_vec())).collect()
    }

    /// Number, value, and content of each field, in the order of the message.
    fn fields(&self) -> Vec<(u32, u64, &[u8])> {
        let mut rest = self.0.as_slice();
        let mut found = Vec::new();
        while !rest.is_empty() {
            let key = varint(&mut rest);
            let (mut value, mut content) = (0, &rest[..0]);
            match key & 7 {
                0 => value = varint(&mut rest),
                1 => content = take(&mut rest, 8),
                2 => {
                    let length = varint(&mut rest);
                    content = take(&mut rest, length as usize);
                }
                5 => content = take(&mut rest, 4),
                kind => panic!("a field of kind {kind}"),
            }
            found.push(((key >> 3) as u32, value, content));
        }
        found
    }
}

fn take<'m>(rest: &mut &'m [u8], length: usize) -> &'m [u8] {
    let (taken, after) = rest.split_at(length);
    *rest = after;
    taken
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

#[test]
fn messages_are_read_as_they_were_written() {
    let message = Message::new()
        .number(1, -1)
        .text(16, "word")
        .part(3, Message::new().number(2, 300))
        .entry(4, "key", "value")
        .flag(5, true);
    let reply = Reply(message.0);
    assert_eq!(reply.number(1), -1);
    assert_eq!(reply.text(16), "word");
    assert_eq!(reply.part(3).number(2), 300);
    assert_eq!(reply.part(4).text(2), "value");
    assert_eq!((reply.number(5), reply.number(6)), (1, 0));
}
