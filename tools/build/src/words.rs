//! How flag values become words: JSON lists, shell words, `NAME=value` pairs.

use trimaran_cli::Failure;

/// Reads a command: a JSON list of strings, or words as a shell would split them.
///
/// # Errors
/// Neither: code 2.
pub(crate) fn command(text: &str) -> Result<Vec<String>, Failure> {
    match json(text)? {
        Some(words) => Ok(words),
        None => split(text).ok_or_else(|| Failure::usage(format!("unfinished quotes in {text:?}"))),
    }
}

/// Reads an entry point: a JSON list of strings, or a line for `/bin/sh -c`.
///
/// # Errors
/// A list that is none: code 2.
pub(crate) fn entrypoint(text: &str) -> Result<Vec<String>, Failure> {
    let line = |line: &str| match line {
        "" => Vec::new(),
        line => ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
    };
    Ok(json(text)?.unwrap_or_else(|| line(text)))
}

/// A JSON list of strings; `None` for what does not begin like one.
fn json(text: &str) -> Result<Option<Vec<String>>, Failure> {
    if !text.trim_start().starts_with('[') {
        return Ok(None);
    }
    let malformed = |error| Failure::usage(format!("{text:?} is no JSON list of strings: {error}"));
    serde_json::from_str(text).map(Some).map_err(malformed)
}

/// Splits a line into words: blanks separate; quotes and backslashes protect, as in a shell. `None` if a quote is not closed.
fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => {
                let open = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        '\'' => break,
                        other => open.push(other),
                    }
                }
            }
            '"' => quoted(&mut characters, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(characters.next()?),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

/// Reads to the closing double quote; a backslash protects itself and the quote.
fn quoted(characters: &mut std::str::Chars<'_>, word: &mut String) -> Option<()> {
    loop {
        match characters.next()? {
            '"' => return Some(()),
            '\\' => match characters.next()? {
                special @ ('"' | '\\' | '$' | '`') => word.push(special),
                other => word.extend(['\\', other]),
            },
            other => word.push(other),
        }
    }
}

/// `NAME=value` to set, `NAME-` to remove.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pair {
    /// To be set.
    Set(String, String),
    /// To be removed.
    Unset(String),
}

/// Reads a pair; what it is for is told in the error.
///
/// # Errors
/// Neither of the two forms: code 2.
pub(crate) fn pair(what: &str, text: &str) -> Result<Pair, Failure> {
    match (text.split_once('='), text.strip_suffix('-')) {
        (Some((name, value)), _) if !name.is_empty() => {
            Ok(Pair::Set(name.to_owned(), value.to_owned()))
        }
        (None, Some(name)) if !name.is_empty() => Ok(Pair::Unset(name.to_owned())),
        _ => Err(Failure::usage(format!(
            "--{what} takes NAME=VALUE, or NAME- to remove it, not {text:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_lists_or_words() {
        let table: &[(&str, &[&str])] = &[
            (r#"["a", "b c"]"#, &["a", "b c"]),
            ("", &[]),
            (
                "  nginx  -g 'daemon off;' ",
                &["nginx", "-g", "daemon off;"],
            ),
            (r#"a"b c"d '' \ e "\"\n""#, &["ab cd", "", " e", "\"\\n"]),
        ];
        for (text, words) in table {
            assert_eq!(&command(text).unwrap(), words, "{text}");
        }
        for bad in ["'a", "\"a", "a\\", "[1]", "[\"a\"", "[a]"] {
            assert!(command(bad).is_err(), "{bad}");
        }
        assert_eq!(entrypoint("a && b").unwrap(), ["/bin/sh", "-c", "a && b"]);
        assert_eq!(entrypoint("[\"a\"]").unwrap(), ["a"]);
        assert!(entrypoint("").unwrap().is_empty());
    }

    #[test]
    fn pairs_set_and_remove() {
        let owned = str::to_owned;
        assert_eq!(
            pair("env", "A=b=c").unwrap(),
            Pair::Set(owned("A"), owned("b=c"))
        );
        assert_eq!(pair("env", "A=").unwrap(), Pair::Set(owned("A"), owned("")));
        assert_eq!(pair("env", "A-").unwrap(), Pair::Unset(owned("A")));
        for bad in ["", "A", "=b", "-"] {
            assert!(pair("env", bad).is_err(), "{bad}");
        }
    }
}
