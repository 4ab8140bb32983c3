//! Archives that lie: every field of a tar header under the test's control, right or wrong.
//!
//! For honest archives see [`Tree`](crate::image::Tree).

/// A member with the fields of its header as text or bytes; made by one of the functions, then changed at will.
#[derive(Clone, Debug)]
pub struct RawMember {
    /// The name field, cut at 100 bytes.
    pub name: Vec<u8>,
    /// The type flag.
    pub flag: u8,
    /// The mode.
    pub mode: u32,
    /// The owner, in octal unless `uid_field` is set.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Raw bytes in place of the owner.
    pub uid_field: Option<[u8; 8]>,
    /// The size said, by default that of the body.
    pub size: u64,
    /// Raw bytes in place of the size.
    pub size_field: Option<[u8; 12]>,
    /// The modification time.
    pub mtime: u64,
    /// The link name field, cut at 100 bytes.
    pub link: Vec<u8>,
    /// Device numbers.
    pub device: (u32, u32),
    /// The content, padded to blocks whatever `size` says.
    pub body: Vec<u8>,
    /// Added to the checksum.
    pub checksum_error: u32,
    /// Raw members written before this one: PAX headers, long names.
    pub before: Vec<RawMember>,
}

impl RawMember {
    /// Makes a member of any type.
    pub fn new(flag: u8, name: impl AsRef<[u8]>) -> RawMember {
        RawMember {
            name: name.as_ref().to_vec(),
            flag,
            mode: 0o644,
            uid: 0,
            gid: 0,
            uid_field: None,
            size: 0,
            size_field: None,
            mtime: 1_700_000_000,
            link: Vec::new(),
            device: (0, 0),
            body: Vec::new(),
            checksum_error: 0,
            before: Vec::new(),
        }
    }

    /// Makes a regular file.
    pub fn file(name: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> RawMember {
        RawMember::new(b'0', name).body(body)
    }

    /// Makes a directory.
    pub fn dir(name: impl AsRef<[u8]>, mode: u32) -> RawMember {
        RawMember {
            mode,
            ..RawMember::new(b'5', name)
        }
    }

    /// Makes a symlink.
    pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> RawMember {
        RawMember {
            link: target.as_ref().to_vec(),
            ..RawMember::new(b'2', name)
        }
    }

    /// Makes a hard link.
    pub fn hardlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> RawMember {
        RawMember {
            link: target.as_ref().to_vec(),
            ..RawMember::new(b'1', name)
        }
    }

    /// Sets the content, and the size to match.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> RawMember {
        self.body = body.as_ref().to_vec();
        self.size = self.body.len() as u64;
        self
    }

    /// Puts a PAX header with these records before the member.
    #[must_use]
    pub fn pax(self, records: &[(&str, &[u8])]) -> RawMember {
        let mut body = Vec::new();
        for (key, value) in records {
            body.extend(pax_record(key, value));
        }
        self.before(RawMember::new(b'x', "pax").body(body))
    }

    /// Puts any member before this one.
    #[must_use]
    pub fn before(mut self, member: RawMember) -> RawMember {
        self.before.push(member);
        self
    }

    fn write(&self, out: &mut Vec<u8>) {
        for member in &self.before {
            member.write(out);
        }
        let mut block = [0_u8; 512];
        let mut put = |at: usize, length: usize, bytes: &[u8]| {
            let bytes = &bytes[..bytes.len().min(length)];
            block[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(0, 100, &self.name);
        put(100, 8, format!("{:07o}\0", self.mode).as_bytes());
        put(108, 8, &self.uid_field.unwrap_or_else(|| octal8(self.uid)));
        put(116, 8, &octal8(self.gid));
        let size = format!("{:011o}\0", self.size.min(0o777_7777_7777));
        put(
            124,
            12,
            self.size_field
                .as_ref()
                .map_or(size.as_bytes(), |field| field),
        );
        put(136, 12, format!("{:011o}\0", self.mtime).as_bytes());
        put(148, 8, b"        ");
        put(156, 1, &[self.flag]);
        put(157, 100, &self.link);
        put(
            257,
            8,
            if matches!(self.flag, b'S' | b'L' | b'K') {
                b"ustar  \0"
            } else {
                b"ustar\x0000"
            },
        );
        put(329, 8, &octal8(self.device.0));
        put(337, 8, &octal8(self.device.1));
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum::<u32>() + self.checksum_error;
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend(block);
        out.extend(&self.body);
        out.resize(out.len().next_multiple_of(512), 0);
    }
}

fn octal8(number: u32) -> [u8; 8] {
    let mut field = [0; 8];
    field.copy_from_slice(format!("{:07o}\0", number & 0o777_7777).as_bytes());
    field
}

/// Returns a PAX record whose length is right.
pub fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// Returns the members without the closing blocks.
pub fn raw_members(members: &[RawMember]) -> Vec<u8> {
    let mut out = Vec::new();
    for member in members {
        member.write(&mut out);
    }
    out
}

/// Returns the archive of the members, with its two closing blocks.
pub fn raw_tar(members: &[RawMember]) -> Vec<u8> {
    let mut out = raw_members(members);
    out.extend([0; 1024]);
    out
}
