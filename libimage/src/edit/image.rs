//! What a change of an image does to its documents.

use serde_json::{Map, Value, json};

use super::{Changes, EditError, apply};
use crate::platform::Platform;

/// A change of an image, or of each image of an index.
#[derive(Debug, Clone, Default)]
pub struct Mutation {
    /// Labels of the configuration.
    pub labels: Changes,
    /// Annotations of the manifests of images.
    pub annotations: Changes,
    /// Annotations of the index.
    pub index_annotations: Changes,
    /// The environment. A variable keeps its place, a new one comes last.
    pub env: Changes,
    /// The entrypoint; an empty one removes it. Like with Docker, a new one removes the command, unless that is given too.
    pub entrypoint: Option<Vec<String>>,
    /// The command; an empty one removes it.
    pub cmd: Option<Vec<String>>,
    /// The user; an empty one removes it.
    pub user: Option<String>,
    /// The working directory; an empty one removes it.
    pub workdir: Option<String>,
    /// Ports (`80`, `80/tcp`, `53/udp`) that are exposed (`true`), or are no longer.
    pub expose: Vec<(String, bool)>,
    /// Which images of an index are changed; none is all of them.
    pub platforms: Vec<Platform>,
}

impl Mutation {
    /// Tells whether nothing is to be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.is_of_config() && self.annotations.is_empty() && self.index_annotations.is_empty()
    }

    /// Checks that every value can be what it is to be.
    pub(super) fn check(&self) -> Result<(), EditError> {
        let wrong = |what, value: &str| EditError::Value {
            what,
            value: value.chars().take(80).collect(),
        };
        for (name, _) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(wrong("name of a variable", name));
            }
        }
        let names = [&self.labels, &self.annotations, &self.index_annotations];
        for (name, _) in names.into_iter().flatten() {
            if name.is_empty() {
                return Err(wrong("name of a label or annotation", name));
            }
        }
        for (port, _) in &self.expose {
            port_of(port).ok_or_else(|| wrong("port", port))?;
        }
        Ok(())
    }

    /// Tells whether configurations are changed.
    pub(super) fn is_of_config(&self) -> bool {
        !self.labels.is_empty()
            || !self.env.is_empty()
            || !self.expose.is_empty()
            || self.entrypoint.is_some()
            || self.cmd.is_some()
            || self.user.is_some()
            || self.workdir.is_some()
    }

    /// Changes a configuration.
    pub(super) fn edit_config(&self, config: &mut Map<String, Value>) {
        let mut settings = match config.remove("config") {
            Some(Value::Object(settings)) => settings,
            _ => Map::new(),
        };
        let had_settings = !settings.is_empty();
        apply(&mut settings, "Labels", &self.labels);
        self.edit_env(&mut settings);
        for (port, exposed) in &self.expose {
            expose(&mut settings, port, *exposed);
        }
        if let Some(words) = &self.entrypoint {
            set(&mut settings, "Entrypoint", json!(words));
            settings.remove("Cmd");
        }
        if let Some(words) = &self.cmd {
            set(&mut settings, "Cmd", json!(words));
        }
        if let Some(user) = &self.user {
            set(&mut settings, "User", json!(user));
        }
        if let Some(path) = &self.workdir {
            set(&mut settings, "WorkingDir", json!(path));
        }
        if had_settings || !settings.is_empty() {
            config.insert("config".to_owned(), Value::Object(settings));
        }
    }

    fn edit_env(&self, settings: &mut Map<String, Value>) {
        if self.env.is_empty() {
            return;
        }
        let mut variables = match settings.remove("Env") {
            Some(Value::Array(variables)) => variables,
            _ => Vec::new(),
        };
        for (name, value) in &self.env {
            let is_it = |variable: &Value| {
                let text = variable.as_str().unwrap_or_default();
                text.split_once('=').map_or(text, |(name, _)| name) == name
            };
            let at = variables.iter().position(is_it);
            match (at, value) {
                (Some(at), Some(value)) => variables[at] = json!(format!("{name}={value}")),
                (None, Some(value)) => variables.push(json!(format!("{name}={value}"))),
                (Some(_), None) => variables.retain(|variable| !is_it(variable)),
                (None, None) => {}
            }
        }
        set(settings, "Env", Value::Array(variables));
    }
}

/// Sets a field, or removes it if there is nothing in it.
fn set(settings: &mut Map<String, Value>, field: &str, value: Value) {
    let empty = match &value {
        Value::Array(values) => values.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    if empty {
        settings.remove(field);
    } else {
        settings.insert(field.to_owned(), value);
    }
}

/// Spells a port with its protocol, as configurations do.
fn port_of(text: &str) -> Option<String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number: u16 = number.parse().ok()?;
    matches!(protocol, "tcp" | "udp" | "sctp").then(|| format!("{number}/{protocol}"))
}

fn expose(settings: &mut Map<String, Value>, port: &str, exposed: bool) {
    let Some(port) = port_of(port) else {
        return;
    };
    let mut ports = match settings.remove("ExposedPorts") {
        Some(Value::Object(ports)) => ports,
        _ => Map::new(),
    };
    if exposed {
        ports.insert(port, json!({}));
    } else {
        ports.remove(&port);
    }
    if !ports.is_empty() {
        settings.insert("ExposedPorts".to_owned(), Value::Object(ports));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(list: &[(&str, Option<&str>)]) -> Changes {
        let owned =
            |(name, value): &(&str, Option<&str>)| ((*name).to_owned(), value.map(str::to_owned));
        list.iter().map(owned).collect()
    }

    fn words(list: &[&str]) -> Option<Vec<String>> {
        Some(list.iter().map(|word| (*word).to_owned()).collect())
    }

    fn edited(mutation: &Mutation, settings: Value) -> Value {
        let mut config = json!({"os": "linux", "config": settings, "unheardOf": [1]});
        mutation.edit_config(config.as_object_mut().unwrap());
        assert_eq!(
            (&config["os"], &config["unheardOf"]),
            (&json!("linux"), &json!([1]))
        );
        config.get("config").cloned().unwrap_or(Value::Null)
    }

    #[test]
    fn settings_change_as_they_are_told() {
        let old = json!({"Env": ["PATH=/bin", "A=1"], "Cmd": ["sh"], "Labels": {"a": "1", "b": "2"}, "Unknown": true});
        // The change, and what of the settings is another then.
        let cases = [
            (Mutation::default(), json!({})),
            (
                Mutation {
                    labels: changes(&[("a", None), ("c", Some("x=y")), ("nope", None)]),
                    ..Mutation::default()
                },
                json!({"Labels": {"b": "2", "c": "x=y"}}),
            ),
            (
                Mutation {
                    labels: changes(&[("a", None), ("b", None)]),
                    ..Mutation::default()
                },
                json!({"Labels": null}),
            ),
            (
                Mutation {
                    env: changes(&[("PATH", Some("/usr/bin")), ("B", Some("")), ("A", None)]),
                    ..Mutation::default()
                },
                json!({"Env": ["PATH=/usr/bin", "B="]}),
            ),
            (
                Mutation {
                    entrypoint: words(&["/app"]),
                    ..Mutation::default()
                },
                json!({"Entrypoint": ["/app"], "Cmd": null}),
            ),
            (
                Mutation {
                    entrypoint: words(&["/app"]),
                    cmd: words(&["-v"]),
                    ..Mutation::default()
                },
                json!({"Entrypoint": ["/app"], "Cmd": ["-v"]}),
            ),
            (
                Mutation {
                    cmd: words(&[]),
                    user: Some("1000:1000".to_owned()),
                    workdir: Some("/srv".to_owned()),
                    expose: vec![
                        ("80".to_owned(), true),
                        ("53/udp".to_owned(), true),
                        ("80/tcp".to_owned(), false),
                    ],
                    ..Mutation::default()
                },
                json!({"Cmd": null, "User": "1000:1000", "WorkingDir": "/srv", "ExposedPorts": {"53/udp": {}}}),
            ),
        ];
        for (mutation, other) in cases {
            let mut expected = old.clone();
            for (field, value) in other.as_object().unwrap() {
                if value.is_null() {
                    expected.as_object_mut().unwrap().remove(field);
                } else {
                    expected[field] = value.clone();
                }
            }
            assert_eq!(edited(&mutation, old.clone()), expected, "{mutation:?}");
        }
        assert_eq!(edited(&Mutation::default(), Value::Null), Value::Null);
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        for bad in [
            Mutation {
                env: changes(&[("", Some("x"))]),
                ..Mutation::default()
            },
            Mutation {
                labels: changes(&[("", None)]),
                ..Mutation::default()
            },
            Mutation {
                expose: vec![("http".to_owned(), true)],
                ..Mutation::default()
            },
            Mutation {
                expose: vec![("80/icmp".to_owned(), true)],
                ..Mutation::default()
            },
            Mutation {
                expose: vec![("65536".to_owned(), true)],
                ..Mutation::default()
            },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
