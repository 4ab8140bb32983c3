//! Changing a file of credentials: what is not understood stays.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{
    AuthFile, AuthFileError,
    auth_file::{FILE_BYTES, normalise},
    secret::Credentials,
};

/// The text of a file of credentials, to be changed. Fields of other programs are kept.
///
/// ```
/// use libimage::config::{AuthEdit, AuthFile, Credentials};
/// let mut edit = AuthEdit::parse(r#"{"psFormat": "table"}"#)?;
/// edit.store("quay.io/team", &Credentials::parse("me:secret").ok_or("no colon")?);
/// let text = edit.text();
/// assert!(text.contains("psFormat"));
/// assert!(AuthFile::parse(&text)?.entry("quay.io/team").is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # References
///
/// containers-auth.json(5)
#[derive(Clone)]
pub struct AuthEdit(Map<String, Value>);

impl AuthEdit {
    /// Reads the text of a file; an empty text is a file without entries.
    ///
    /// # Errors
    ///
    /// As [`AuthFile::parse`]: what others could not read is not made worse.
    pub fn parse(text: &str) -> Result<Self, AuthFileError> {
        AuthFile::parse(text)?;
        if text.trim().is_empty() {
            return Ok(Self(Map::new()));
        }
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) if text.len() <= FILE_BYTES => Ok(Self(fields)),
            _ => Err(AuthFileError::Json { line: 1, column: 1 }),
        }
    }

    /// Sets the credentials of a registry or a path inside one, under this very key.
    pub fn store(&mut self, key: &str, credentials: &Credentials) {
        let entry = match credentials {
            Credentials::Basic { user, password } => {
                json!({"auth": STANDARD.encode(format!("{user}:{}", password.reveal()))})
            }
            Credentials::Identity(token) => json!({"identitytoken": token.reveal()}),
            Credentials::Bearer(token) => json!({"registrytoken": token.reveal()}),
            Credentials::Anonymous => json!({}),
        };
        self.remove(key);
        self.auths().insert(key.to_owned(), entry);
    }

    /// Removes the entry of a registry or path, however it is spelt; tells whether there was one.
    pub fn remove(&mut self, key: &str) -> bool {
        let auths = self.auths();
        let before = auths.len();
        auths.retain(|other, _| normalise(other) != normalise(key));
        auths.len() < before
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        self.auths().clear();
    }

    /// Returns the new text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(&self.0)
            .expect("strings and numbers that were read can be written");
        text.push('\n');
        text
    }

    fn auths(&mut self) -> &mut Map<String, Value> {
        let auths = self
            .0
            .entry("auths")
            .and_modify(|auths| {
                // `null` is what some programs write in place of nothing.
                if !auths.is_object() {
                    *auths = json!({});
                }
            })
            .or_insert_with(|| json!({}));
        auths.as_object_mut().expect("it has just been made one")
    }
}

/// It holds secrets: nothing of it is shown.
impl std::fmt::Debug for AuthEdit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthEdit").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Credentials {
        Credentials::parse("me:se:cret").unwrap()
    }

    #[test]
    fn entries_come_and_go_and_the_rest_stays() {
        let text = r#"{"HttpHeaders": {"X": "y"}, "auths": {"https://index.docker.io/v1/": {"auth": "dTpw", "email": "e"}, "b.org": {"auth": "dTpw", "x": [1, null]}}}"#;
        let mut edit = AuthEdit::parse(text).unwrap();
        edit.store("docker.io", &me());
        edit.store("a.org:5000/team", &me());
        let after = AuthFile::parse(&edit.text()).unwrap();
        assert_eq!(after.entry("docker.io"), Some(&me()));
        assert_eq!(after.entry("a.org:5000/team"), Some(&me()));
        assert_eq!(after.keys().count(), 3, "docker's spelling was replaced");
        let value: Value = serde_json::from_str(&edit.text()).unwrap();
        assert_eq!(value["HttpHeaders"]["X"], "y");
        assert_eq!(value["auths"]["b.org"]["x"], json!([1, null]));
        assert!(edit.remove("index.docker.io") && !edit.remove("a.org"));
        edit.clear();
        assert_eq!(AuthFile::parse(&edit.text()).unwrap().keys().count(), 0);
        assert!(edit.text().contains("HttpHeaders"));
    }

    #[test]
    fn what_is_no_such_file_is_not_changed() {
        for bad in ["[]", "{", "1", r#"{"auths": {"a": {"auth": "%"}}}"#] {
            assert!(AuthEdit::parse(bad).is_err(), "{bad}");
        }
        for empty in ["", " \n", "{}"] {
            assert!(AuthEdit::parse(empty).is_ok(), "{empty:?}");
        }
        assert!(!format!("{:?}", AuthEdit::parse(r#"{"a": "hunter2"}"#)).contains("hunter2"));
    }

    proptest::proptest! {
        #[test]
        fn what_is_stored_is_found(user in "[^:\\x00]{1,9}", password in "[^\\x00]{0,9}", key in "[a-c]{1,3}\\.org(/[a-c]{1,2}){0,2}") {
            let credentials = Credentials::parse(&format!("{user}:{password}")).unwrap();
            let mut edit = AuthEdit::parse("").unwrap();
            edit.store(&key, &credentials);
            let file = AuthFile::parse(&edit.text()).unwrap();
            proptest::prop_assert_eq!(file.lookup(&format!("{key}/x").parse().unwrap()), Some(&credentials));
            proptest::prop_assert!(edit.remove(&key));
        }
    }
}
