//! Changes the configuration of an image, as JSON.
//!
//! The base's configuration is kept as the JSON it is, and only the members that are meant are touched. So fields this
//! project has no name for (`Healthcheck`, `OnBuild`, what comes next) survive, and members come out sorted by name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::op::Change;

/// The configuration of an image and the annotations of its manifest, while they are being edited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The image configuration as JSON.
    pub config: Value,
    /// The annotations of the manifest to be.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// A change that cannot be what was meant.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// A value that breaks the rule of its field.
    #[error("{field} {value:?}: {rule}")]
    Value {
        /// The field.
        field: &'static str,
        /// The value.
        value: String,
        /// What a value of this field looks like.
        rule: &'static str,
    },
    /// The base's configuration has another shape than the specification gives it.
    #[error("the base's configuration holds {found} where {member:?} should be {wanted}")]
    Shape {
        /// The member.
        member: &'static str,
        /// What it should be.
        wanted: &'static str,
        /// What is there.
        found: String,
    },
}

impl From<EditError> for crate::error::Error {
    fn from(error: EditError) -> Self {
        let kind = match error {
            EditError::Value { .. } => crate::error::ErrorKind::InvalidInput,
            EditError::Shape { .. } => crate::error::ErrorKind::Malformed,
        };
        Self::new(kind, error)
    }
}

impl Settings {
    /// Returns the settings of an empty base for a platform.
    pub fn scratch(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let mut config = json!({
            "architecture": architecture,
            "config": {},
            "history": [],
            "os": os,
            "rootfs": { "diff_ids": [], "type": "layers" },
        });
        if let Some(variant) = variant {
            config["variant"] = json!(variant);
        }
        Self {
            config,
            annotations: BTreeMap::new(),
        }
    }

    /// Returns the settings that continue a base's configuration.
    ///
    /// What tells how the base itself was built by docker (`container`, `container_config`, `docker_version`, `id`,
    /// `parent`) does not describe the new image and is left out.
    pub fn of_base(raw_config: &[u8]) -> Result<Self, EditError> {
        let shape = |found: String| EditError::Shape {
            member: "",
            wanted: "an object",
            found,
        };
        let mut config: Value =
            serde_json::from_slice(raw_config).map_err(|error| shape(error.to_string()))?;
        let members = config
            .as_object_mut()
            .ok_or_else(|| shape("no object".to_owned()))?;
        for stale in [
            "container",
            "container_config",
            "docker_version",
            "id",
            "parent",
        ] {
            members.remove(stale);
        }
        // Some builders write `"config": null` for an image without settings.
        if members.get("config").is_none_or(Value::is_null) {
            members.insert("config".to_owned(), json!({}));
        }
        Ok(Self {
            config,
            annotations: BTreeMap::new(),
        })
    }

    /// Applies one change.
    ///
    /// # Errors
    /// [`EditError::Value`] if the value breaks the rule of its field.
    pub fn apply(&mut self, change: &Change) -> Result<(), EditError> {
        match change {
            Change::Cmd(list) => self.set_list("Cmd", list),
            Change::Entrypoint(list) => self.set_list("Entrypoint", list),
            Change::Shell(list) => self.set_list("Shell", list),
            Change::Env(key, value) => self.set_env(key, Some(value)),
            Change::UnsetEnv(key) => self.set_env(key, None),
            Change::Label(key, value) => {
                self.set_member("Labels", "label", key, Some(json!(value)))
            }
            Change::UnsetLabel(key) => self.set_member("Labels", "label", key, None),
            Change::User(user) => self.set_text("User", user),
            Change::Workdir(path) => self.set_workdir(path),
            Change::Port(port) => {
                self.set_member("ExposedPorts", "port", &parse_port(port)?, Some(json!({})))
            }
            Change::UnsetPort(port) => {
                self.set_member("ExposedPorts", "port", &parse_port(port)?, None)
            }
            Change::Volume(path) => {
                self.set_member("Volumes", "volume", check_absolute(path)?, Some(json!({})))
            }
            Change::UnsetVolume(path) => {
                self.set_member("Volumes", "volume", check_absolute(path)?, None)
            }
            Change::StopSignal(signal) => self.set_text("StopSignal", check_signal(signal)?),
            Change::Author(author) => self.set_top("author", author),
            Change::Architecture(name) => {
                self.set_top("architecture", check_word("architecture", name)?)
            }
            Change::Os(name) => self.set_top("os", check_word("os", name)?),
            Change::Variant(name) => self.set_top("variant", name),
            Change::Annotation(key, value) => {
                check_key("annotation", key)?;
                self.annotations.insert(key.clone(), value.clone());
                Ok(())
            }
            Change::UnsetAnnotation(key) => {
                self.annotations.remove(key);
                Ok(())
            }
        }
    }

    /// Returns a list of strings of the `config` member.
    pub fn list(&self, member: &str) -> Vec<String> {
        let list = self.config["config"][member].as_array();
        list.into_iter()
            .flatten()
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect()
    }

    /// Returns a string of the `config` member; empty if it is not set.
    pub fn text(&self, member: &str) -> &str {
        self.config["config"][member].as_str().unwrap_or_default()
    }

    fn inner(&mut self) -> Result<&mut Map<String, Value>, EditError> {
        object(&mut self.config["config"], "config")
    }

    fn set_top(&mut self, member: &str, value: &str) -> Result<(), EditError> {
        set_or_remove(object(&mut self.config, "")?, member, value);
        Ok(())
    }

    fn set_text(&mut self, member: &str, value: &str) -> Result<(), EditError> {
        set_or_remove(self.inner()?, member, value);
        Ok(())
    }

    fn set_list(&mut self, member: &str, list: &[String]) -> Result<(), EditError> {
        let inner = self.inner()?;
        if list.is_empty() {
            inner.remove(member);
        } else {
            inner.insert(member.to_owned(), json!(list));
        }
        Ok(())
    }

    /// Sets or removes one entry of a map inside `config`; a map that became empty is removed.
    fn set_member(
        &mut self,
        map: &'static str,
        field: &'static str,
        key: &str,
        value: Option<Value>,
    ) -> Result<(), EditError> {
        check_key(field, key)?;
        let inner = self.inner()?;
        let entries = inner.entry(map).or_insert_with(|| json!({}));
        if entries.is_null() {
            *entries = json!({});
        }
        let entries = object(entries, map)?;
        match value {
            Some(value) => entries.insert(key.to_owned(), value),
            None => entries.remove(key),
        };
        if entries.is_empty() {
            inner.remove(map);
        }
        Ok(())
    }

    /// Sets or removes a variable, in its old place if it has one.
    fn set_env(&mut self, key: &str, value: Option<&str>) -> Result<(), EditError> {
        if key.is_empty() || key.contains(['=', '\0']) {
            return Err(invalid(
                "env",
                key,
                "a name without '=' is needed before the value",
            ));
        }
        if value.is_some_and(|v| v.contains('\0')) {
            return Err(invalid("env", key, "a value cannot hold a NUL"));
        }
        let mut list = self.list("Env");
        let place = list
            .iter()
            .position(|entry| entry.split('=').next() == Some(key));
        match (place, value) {
            (Some(at), Some(value)) => list[at] = format!("{key}={value}"),
            (None, Some(value)) => list.push(format!("{key}={value}")),
            (Some(at), None) => drop(list.remove(at)),
            (None, None) => (),
        }
        self.set_list("Env", &list)
    }

    /// Sets the working directory; a relative one is below the present one, as in a Containerfile.
    fn set_workdir(&mut self, path: &str) -> Result<(), EditError> {
        if path.contains('\0') {
            return Err(invalid("workdir", path, "a path cannot hold a NUL"));
        }
        let joined = match path {
            "" => String::new(),
            absolute if absolute.starts_with('/') => absolute.to_owned(),
            relative => format!(
                "{}/{relative}",
                self.text("WorkingDir").trim_end_matches('/')
            ),
        };
        let joined = if joined.is_empty() || joined.starts_with('/') {
            joined
        } else {
            format!("/{joined}")
        };
        self.set_text("WorkingDir", &joined)
    }
}

fn set_or_remove(members: &mut Map<String, Value>, member: &str, value: &str) {
    if value.is_empty() {
        members.remove(member);
    } else {
        members.insert(member.to_owned(), json!(value));
    }
}

fn object<'a>(
    value: &'a mut Value,
    member: &'static str,
) -> Result<&'a mut Map<String, Value>, EditError> {
    let found = match value {
        Value::Object(_) => "an object",
        Value::Array(_) => "an array",
        Value::Null => "null",
        _ => "a scalar",
    };
    let shape = EditError::Shape {
        member,
        wanted: "an object",
        found: found.to_owned(),
    };
    value.as_object_mut().ok_or(shape)
}

fn invalid(field: &'static str, value: &str, rule: &'static str) -> EditError {
    EditError::Value {
        field,
        value: value.to_owned(),
        rule,
    }
}

fn check_key<'a>(field: &'static str, key: &'a str) -> Result<&'a str, EditError> {
    if key.is_empty() || key.contains('\0') {
        return Err(invalid(field, key, "a name is needed"));
    }
    Ok(key)
}

fn check_word<'a>(field: &'static str, word: &'a str) -> Result<&'a str, EditError> {
    let good = !word.is_empty()
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if good {
        Ok(word)
    } else {
        Err(invalid(
            field,
            word,
            "letters and digits, as in amd64 or linux",
        ))
    }
}

fn check_absolute(path: &str) -> Result<&str, EditError> {
    let good = path.starts_with('/') && !path.contains('\0');
    if good {
        Ok(path)
    } else {
        Err(invalid("volume", path, "an absolute path is needed"))
    }
}

fn check_signal(signal: &str) -> Result<&str, EditError> {
    let good = signal
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"+-".contains(&b));
    if good {
        Ok(signal)
    } else {
        Err(invalid(
            "stop-signal",
            signal,
            "a number or a name such as SIGTERM",
        ))
    }
}

/// Reads `80`, `53/udp` or `8000-8010/tcp`, and returns it with its protocol.
fn parse_port(port: &str) -> Result<String, EditError> {
    let rule = "PORT[-PORT][/tcp|udp|sctp], each PORT from 1 to 65535";
    let (range, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| text.parse::<u16>().ok().filter(|n| *n > 0);
    let ordered = matches!((number(first), number(last)), (Some(a), Some(b)) if a <= b);
    if !ordered || !["tcp", "udp", "sctp"].contains(&protocol) {
        return Err(invalid("port", port, rule));
    }
    Ok(format!("{range}/{protocol}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> String {
        s.to_owned()
    }

    #[test]
    fn changes_touch_only_what_they_name() {
        let base = br#"{"architecture":"amd64","os":"linux","container":"x","docker_version":"1","mystery":[1,2],
            "config":{"Healthcheck":{"Test":["CMD","true"],"Interval":30000000000},"OnBuild":["RUN x"],"Env":["PATH=/bin","A=1"],
            "Labels":{"old":"1"},"WorkingDir":"/srv"},"rootfs":{"type":"layers","diff_ids":[]}}"#;
        let mut settings = Settings::of_base(base).unwrap();
        let changes = [
            Change::Env(text("A"), text("2=3")),
            Change::Env(text("B"), text("")),
            Change::UnsetEnv(text("PATH")),
            Change::Label(text("new"), text("x")),
            Change::UnsetLabel(text("old")),
            Change::Workdir(text("www")),
            Change::Port(text("80")),
            Change::Port(text("53/udp")),
            Change::Volume(text("/data")),
            Change::Cmd(vec![text("true")]),
            Change::User(text("nobody")),
            Change::StopSignal(text("SIGQUIT")),
            Change::Author(text("me")),
            Change::Annotation(text("k"), text("v")),
        ];
        for change in &changes {
            settings.apply(change).unwrap();
        }
        let expected = json!({
            "architecture": "amd64", "os": "linux", "mystery": [1, 2], "author": "me",
            "config": {
                "Healthcheck": {"Test": ["CMD", "true"], "Interval": 30_000_000_000u64}, "OnBuild": ["RUN x"],
                "Env": ["A=2=3", "B="], "Labels": {"new": "x"}, "WorkingDir": "/srv/www",
                "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Volumes": {"/data": {}}, "Cmd": ["true"],
                "User": "nobody", "StopSignal": "SIGQUIT",
            },
            "rootfs": {"type": "layers", "diff_ids": []},
        });
        assert_eq!(settings.config, expected);
        assert_eq!(settings.annotations["k"], "v");
    }

    #[test]
    fn empty_values_and_empty_maps_are_removed() {
        let mut settings = Settings::scratch("linux", "arm64", Some("v8"));
        let untouched = settings.clone();
        let changes = [
            Change::Cmd(vec![text("a")]),
            Change::Cmd(vec![]),
            Change::Label(text("a"), text("b")),
            Change::UnsetLabel(text("a")),
            Change::User(text("x")),
            Change::User(text("")),
            Change::Env(text("A"), text("b")),
            Change::UnsetEnv(text("A")),
            Change::Workdir(text("a")),
            Change::Workdir(text("")),
        ];
        for change in &changes {
            settings.apply(change).unwrap();
        }
        assert_eq!(settings, untouched);
    }

    #[test]
    fn nonsense_is_refused() {
        let mut settings = Settings::scratch("linux", "amd64", None);
        let table = [
            Change::Env(text(""), text("x")),
            Change::Env(text("A=B"), text("x")),
            Change::Env(text("A"), text("x\0")),
            Change::Label(text(""), text("x")),
            Change::Port(text("")),
            Change::Port(text("0")),
            Change::Port(text("65536")),
            Change::Port(text("90-80")),
            Change::Port(text("80/icmp")),
            Change::Volume(text("data")),
            Change::StopSignal(text("SIG TERM")),
            Change::Architecture(text("")),
            Change::Os(text("linux\n")),
        ];
        for change in table {
            assert!(settings.apply(&change).is_err(), "{change:?}");
        }
        for bad in ["", "[]", "null", "{"] {
            assert!(Settings::of_base(bad.as_bytes()).is_err(), "{bad}");
        }
        let mut odd = Settings::of_base(br#"{"config":{"Labels":[]}}"#).unwrap();
        assert!(matches!(
            odd.apply(&Change::Label(text("a"), text("b"))),
            Err(EditError::Shape { .. })
        ));
    }
}
