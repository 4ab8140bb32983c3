//! The plan's memory: one block of C strings that the child reads and nobody changes.

use std::ffi::CStr;

/// A C string in an [`Arena`], by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Text(u32);

/// A run of entries in one of the plan's lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u32,
    pub(crate) count: u32,
}

impl Span {
    /// The entries of `list` that the run covers.
    pub(crate) fn of<T>(self, list: &[T]) -> &[T] {
        let first = self.first as usize;
        list.get(first..first + self.count as usize).unwrap_or(&[])
    }
}

/// A text that cannot be a C string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HoldsNul;

/// C strings, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    bytes: Vec<u8>,
}

impl Arena {
    /// Adds a string.
    pub(crate) fn add(&mut self, text: &[u8]) -> Result<Text, HoldsNul> {
        if text.contains(&0) {
            return Err(HoldsNul);
        }
        let place = u32::try_from(self.bytes.len()).map_err(|_| HoldsNul)?;
        self.bytes.extend_from_slice(text);
        self.bytes.push(0);
        Ok(Text(place))
    }

    /// Reads a string. Does not allocate.
    pub(crate) fn get(&self, text: Text) -> &CStr {
        // Every `Text` was made by `add` of the one arena of its plan, which ends each string with a zero.
        self.bytes
            .get(text.0 as usize..)
            .and_then(|rest| CStr::from_bytes_until_nul(rest).ok())
            .unwrap_or(c"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_strings_apart() {
        let mut arena = Arena::default();
        let texts: Vec<_> = ["", "a", "bc"]
            .iter()
            .map(|text| arena.add(text.as_bytes()).unwrap())
            .collect();
        assert_eq!(
            texts
                .iter()
                .map(|text| arena.get(*text).to_str().unwrap())
                .collect::<Vec<_>>(),
            ["", "a", "bc"]
        );
        assert_eq!(arena.add(b"a\0b"), Err(HoldsNul));
    }
}
