//! `WWW-Authenticate`: what a registry wants to see.

/// One challenge: a scheme and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme, lower-case: `basic`, `bearer`.
    pub scheme: String,
    /// The parameters in their order, names lower-case.
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    /// Returns a parameter's first value.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Reads the challenges of a header's value. What does not follow the grammar is skipped, never an error: registries in the field
/// leave out quotes, put several challenges into one header, and repeat commas.
#[must_use]
pub fn parse(value: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return challenges;
        }
        let end = rest.find([' ', '\t', ',', '=', '"']).unwrap_or(rest.len());
        let word = rest[..end].to_ascii_lowercase();
        if word.is_empty() {
            // A stray quote or equals sign.
            rest = &rest[1..];
            continue;
        }
        rest = &rest[end..];
        match (rest.trim_start().strip_prefix('='), challenges.last_mut()) {
            (Some(after), Some(challenge)) => {
                let (text, after) = parameter_value(after.trim_start());
                challenge.parameters.push((word, text));
                rest = after;
            }
            _ => challenges.push(Challenge {
                scheme: word,
                parameters: Vec::new(),
            }),
        }
    }
}

/// Reads a quoted string with its escapes, or a bare word.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_of_the_field_are_read() {
        type Expected<'a> = &'a [(&'a str, &'a [(&'a str, &'a str)])];
        let cases: [(&str, Expected<'_>); 8] = [
            ("Basic realm=\"R\"", &[("basic", &[("realm", "R")])]),
            (
                "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:a/b:pull,push\"",
                &[(
                    "bearer",
                    &[
                        ("realm", "https://auth.docker.io/token"),
                        ("service", "registry.docker.io"),
                        ("scope", "repository:a/b:pull,push"),
                    ],
                )],
            ),
            (
                "Basic realm=x, Bearer realm = y , service=z",
                &[
                    ("basic", &[("realm", "x")]),
                    ("bearer", &[("realm", "y"), ("service", "z")]),
                ],
            ),
            (
                "Bearer realm=\"a \\\"quoted\\\" b\"",
                &[("bearer", &[("realm", "a \"quoted\" b")])],
            ),
            ("Negotiate", &[("negotiate", &[])]),
            ("", &[]),
            (",,= \"", &[]),
            (
                "Bearer realm=\"unterminated",
                &[("bearer", &[("realm", "unterminated")])],
            ),
        ];
        for (value, expected) in cases {
            let found = parse(value);
            let found: Vec<_> = found
                .iter()
                .map(|c| {
                    (
                        c.scheme.as_str(),
                        c.parameters
                            .iter()
                            .map(|(k, v)| (k.as_str(), v.as_str()))
                            .collect::<Vec<_>>(),
                    )
                })
                .collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|(scheme, parameters)| (*scheme, parameters.to_vec()))
                .collect();
            assert_eq!(found, expected, "{value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_read_without_panic(value in ".*") {
            drop(parse(&value));
        }
    }
}
