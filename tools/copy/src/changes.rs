//! How is a change of a named value written: `NAME=VALUE` sets, `NAME-` removes.

/// A name, and its new value; without one it is removed.
pub(crate) type Change = (String, Option<String>);

/// Reads a change.
pub(crate) fn parse(text: &str) -> Result<Change, String> {
    let change = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => match text.strip_suffix('-') {
            Some(name) => (name, None),
            None => return Err("neither NAME=VALUE nor NAME-".to_owned()),
        },
    };
    match change {
        ("", _) => Err("it has no name".to_owned()),
        (name, value) => Ok((name.to_owned(), value)),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn changes_set_and_remove() {
        for (text, expected) in [
            ("a=b", Some(("a", Some("b")))),
            ("a=", Some(("a", Some("")))),
            ("a=b=c-", Some(("a", Some("b=c-")))),
            ("a-=x", Some(("a-", Some("x")))),
            ("a-", Some(("a", None))),
            ("org.example/a--", Some(("org.example/a-", None))),
            ("a", None),
            ("-", None),
            ("=x", None),
            ("", None),
        ] {
            let expected =
                expected.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
            assert_eq!(parse(text).ok(), expected, "{text}");
        }
    }
}
