//! What a step of a build is, as data: its canonical bytes and its line in the image's history.
//!
//! Every mutation of a working container is an [`Op`]. Both its encoding and its history text come from the value,
//! never from what was typed, so that the same step typed in two ways is the same step.
//!
//! The encoding is tag, length, value over bytes: no separators that a value could contain, no field that is left out
//! in one case and present in another with the same meaning. Different ops have different bytes.

use serde::{Deserialize, Serialize};

/// The version of the encoding; part of every encoded op.
pub const ENCODING_VERSION: u64 = 1;

/// One step of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Op {
    /// The base was chosen.
    From(FromOp),
    /// A command ran in the container.
    Run(RunOp),
    /// Files were copied into the container.
    Copy(CopyOp),
    /// Files were copied into the container, archives among them unpacked.
    Add(CopyOp),
    /// The root file system was mounted and may have been changed from outside.
    Edit,
    /// The configuration was changed.
    Config(Change),
}

/// The base of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromOp {
    /// The digest of the base's manifest; `None` for an empty base.
    pub manifest: Option<String>,
}

/// A command and everything about its surroundings that may change what it does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOp {
    /// The argument vector.
    pub args: Vec<String>,
    /// Additional variables, `NAME=value`, in the order given.
    #[serde(default)]
    pub env: Vec<String>,
    /// The user, if not the configured one.
    #[serde(default)]
    pub user: Option<String>,
    /// The working directory, if not the configured one.
    #[serde(default)]
    pub workdir: Option<String>,
    /// The host name, if not the fixed one.
    #[serde(default)]
    pub hostname: Option<String>,
    /// `host` or `none`.
    #[serde(default)]
    pub network: String,
    /// Capabilities added to the default set.
    #[serde(default)]
    pub cap_add: Vec<String>,
    /// Capabilities taken from the default set.
    #[serde(default)]
    pub cap_drop: Vec<String>,
    /// Targets of bind mounts, each with `:ro` if read-only.
    #[serde(default)]
    pub mounts: Vec<String>,
}

/// Files copied in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyOp {
    /// The sources: relative ones as given, absolute ones by their last component, so that the place of a checkout
    /// does not become part of the image.
    pub sources: Vec<String>,
    /// The destination as given.
    pub destination: String,
    /// The name of the image or container the files came from; `None` for the host.
    #[serde(default)]
    pub from: Option<String>,
    /// The owner, `user[:group]`, if not root.
    #[serde(default)]
    pub chown: Option<String>,
    /// The permission bits, if not those of the sources.
    #[serde(default)]
    pub chmod: Option<u32>,
}

/// One change of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", content = "value", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Change {
    /// Sets the default arguments; empty removes them.
    Cmd(Vec<String>),
    /// Sets the entry point; empty removes it.
    Entrypoint(Vec<String>),
    /// Sets the shell of the shell form.
    Shell(Vec<String>),
    /// Sets one environment variable.
    Env(String, String),
    /// Removes one environment variable.
    UnsetEnv(String),
    /// Sets one label.
    Label(String, String),
    /// Removes one label.
    UnsetLabel(String),
    /// Sets the user.
    User(String),
    /// Sets the working directory.
    Workdir(String),
    /// Declares a port, `80` or `53/udp`.
    Port(String),
    /// Removes a declared port.
    UnsetPort(String),
    /// Declares a volume.
    Volume(String),
    /// Removes a declared volume.
    UnsetVolume(String),
    /// Sets the signal that asks the program to stop.
    StopSignal(String),
    /// Sets the author of the image.
    Author(String),
    /// Sets the architecture the image is for.
    Architecture(String),
    /// Sets the operating system the image is for.
    Os(String),
    /// Sets the variant of the architecture.
    Variant(String),
    /// Sets one annotation of the manifest.
    Annotation(String, String),
    /// Removes one annotation of the manifest.
    UnsetAnnotation(String),
}

impl Op {
    /// Returns the canonical bytes: equal for equal ops, different for different ones.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.number(ENCODING_VERSION);
        match self {
            Self::From(op) => out.node(1, |o| o.option(op.manifest.as_deref())),
            Self::Run(op) => out.node(2, |o| op.encode(o)),
            Self::Copy(op) => out.node(3, |o| op.encode(o)),
            Self::Add(op) => out.node(6, |o| op.encode(o)),
            Self::Edit => out.node(4, |_| ()),
            Self::Config(change) => out.node(5, |o| change.encode(o)),
        }
        out.bytes
    }

    /// Returns the text for `created_by` in the image's history, in BuildKit's shape; `None` for steps that leave no
    /// entry there.
    pub fn history(&self) -> Option<String> {
        match self {
            Self::From(_) => None,
            Self::Run(op) => Some(format!("RUN {}", op.args.join(" "))),
            Self::Copy(op) => Some(op.history("COPY")),
            Self::Add(op) => Some(op.history("ADD")),
            Self::Edit => Some("EDIT /".to_owned()),
            Self::Config(change) => change.history(),
        }
    }

    /// Tells whether the step may change files.
    pub fn touches_files(&self) -> bool {
        matches!(
            self,
            Self::Run(_) | Self::Copy(_) | Self::Add(_) | Self::Edit
        )
    }
}

impl RunOp {
    fn encode(&self, out: &mut Encoder) {
        out.list(&self.args);
        out.list(&self.env);
        out.option(self.user.as_deref());
        out.option(self.workdir.as_deref());
        out.option(self.hostname.as_deref());
        out.text(&self.network);
        out.list(&self.cap_add);
        out.list(&self.cap_drop);
        out.list(&self.mounts);
    }
}

impl CopyOp {
    fn encode(&self, out: &mut Encoder) {
        out.list(&self.sources);
        out.text(&self.destination);
        out.option(self.from.as_deref());
        out.option(self.chown.as_deref());
        out.option(self.chmod.map(|mode| format!("{mode:o}")).as_deref());
    }

    fn history(&self, verb: &str) -> String {
        let mut words = vec![verb.to_owned()];
        words.extend(self.from.as_ref().map(|from| format!("--from={from}")));
        words.extend(self.chown.as_ref().map(|owner| format!("--chown={owner}")));
        words.extend(self.chmod.map(|mode| format!("--chmod={mode:o}")));
        words.extend(self.sources.iter().cloned());
        words.push(self.destination.clone());
        words.join(" ")
    }
}

impl Change {
    /// The tag of the kind of change and its values in order.
    fn parts(&self) -> (u64, &[String], Option<(&str, &str)>) {
        use std::slice::from_ref;
        match self {
            Self::Cmd(list) => (1, list, None),
            Self::Entrypoint(list) => (2, list, None),
            Self::Shell(list) => (3, list, None),
            Self::Env(key, value) => (4, &[], Some((key, value))),
            Self::UnsetEnv(key) => (5, from_ref(key), None),
            Self::Label(key, value) => (6, &[], Some((key, value))),
            Self::UnsetLabel(key) => (7, from_ref(key), None),
            Self::User(user) => (8, from_ref(user), None),
            Self::Workdir(path) => (9, from_ref(path), None),
            Self::Port(port) => (10, from_ref(port), None),
            Self::UnsetPort(port) => (11, from_ref(port), None),
            Self::Volume(path) => (12, from_ref(path), None),
            Self::UnsetVolume(path) => (13, from_ref(path), None),
            Self::StopSignal(signal) => (14, from_ref(signal), None),
            Self::Author(author) => (15, from_ref(author), None),
            Self::Architecture(name) => (16, from_ref(name), None),
            Self::Os(name) => (17, from_ref(name), None),
            Self::Variant(name) => (18, from_ref(name), None),
            Self::Annotation(key, value) => (19, &[], Some((key, value))),
            Self::UnsetAnnotation(key) => (20, from_ref(key), None),
        }
    }

    fn encode(&self, out: &mut Encoder) {
        let (tag, list, pair) = self.parts();
        out.node(tag, |o| {
            o.list(list);
            if let Some((key, value)) = pair {
                o.text(key);
                o.text(value);
            }
        });
    }

    /// The history line, as a Containerfile would say it. What describes the image rather than the container (author,
    /// platform, annotations) has no line of its own.
    fn history(&self) -> Option<String> {
        Some(match self {
            Self::Cmd(list) => format!("CMD {}", json(list)),
            Self::Entrypoint(list) => format!("ENTRYPOINT {}", json(list)),
            Self::Shell(list) => format!("SHELL {}", json(list)),
            Self::Env(key, value) => format!("ENV {key}={value}"),
            Self::UnsetEnv(key) => format!("ENV --unset {key}"),
            Self::Label(key, value) => format!("LABEL {key}={value}"),
            Self::UnsetLabel(key) => format!("LABEL --unset {key}"),
            Self::User(user) => format!("USER {user}"),
            Self::Workdir(path) => format!("WORKDIR {path}"),
            Self::Port(port) => format!("EXPOSE {port}"),
            Self::UnsetPort(port) => format!("EXPOSE --unset {port}"),
            Self::Volume(path) => format!("VOLUME {}", json(std::slice::from_ref(path))),
            Self::UnsetVolume(path) => format!("VOLUME --unset {path}"),
            Self::StopSignal(signal) => format!("STOPSIGNAL {signal}"),
            Self::Author(_) | Self::Architecture(_) | Self::Os(_) | Self::Variant(_) => {
                return None;
            }
            Self::Annotation(..) | Self::UnsetAnnotation(_) => return None,
        })
    }
}

fn json(list: &[String]) -> String {
    serde_json::to_string(list).expect("a list of strings is always JSON")
}

/// Writes tag, length, value.
#[derive(Default)]
struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    const TEXT: u8 = b's';
    const LIST: u8 = b'l';
    const NONE: u8 = b'-';
    const NODE: u8 = b'n';
    const NUMBER: u8 = b'u';

    fn header(&mut self, tag: u8, length: usize) {
        self.bytes.push(tag);
        self.bytes.extend_from_slice(&(length as u64).to_be_bytes());
    }

    fn number(&mut self, value: u64) {
        self.header(Self::NUMBER, 8);
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    fn text(&mut self, value: &str) {
        self.header(Self::TEXT, value.len());
        self.bytes.extend_from_slice(value.as_bytes());
    }

    fn option(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.text(value),
            None => self.header(Self::NONE, 0),
        }
    }

    fn list(&mut self, values: &[String]) {
        let mut inner = Self::default();
        values.iter().for_each(|value| inner.text(value));
        self.header(Self::LIST, inner.bytes.len());
        self.bytes.extend_from_slice(&inner.bytes);
    }

    fn node(&mut self, kind: u64, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        inner.number(kind);
        fill(&mut inner);
        self.header(Self::NODE, inner.bytes.len());
        self.bytes.extend_from_slice(&inner.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words() -> impl Strategy<Value = Vec<String>> {
        // A small alphabet with the usual separators, so that joined strings would collide often.
        proptest::collection::vec("[ab=:, -]{0,3}", 0..3)
    }

    fn option() -> impl Strategy<Value = Option<String>> {
        proptest::option::of("[ab:]{0,2}")
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            words().prop_map(Change::Cmd),
            words().prop_map(Change::Entrypoint),
            ("[ab=]{0,2}", "[ab=]{0,2}").prop_map(|(k, v)| Change::Env(k, v)),
            ("[ab=]{0,2}", "[ab=]{0,2}").prop_map(|(k, v)| Change::Label(k, v)),
            "[ab=]{0,2}".prop_map(Change::UnsetEnv),
            "[ab=]{0,2}".prop_map(Change::User),
            "[ab=]{0,2}".prop_map(Change::Workdir),
        ]
    }

    fn op() -> impl Strategy<Value = Op> {
        let run = (
            words(),
            words(),
            option(),
            option(),
            "host|none",
            words(),
            words(),
        )
            .prop_map(|(args, env, user, workdir, network, cap_add, mounts)| {
                Op::Run(RunOp {
                    args,
                    env,
                    user,
                    workdir,
                    network,
                    cap_add,
                    mounts,
                    ..RunOp::default()
                })
            });
        let copy = (
            words(),
            "[ab/]{0,3}",
            option(),
            option(),
            proptest::option::of(0u32..0o1000),
        )
            .prop_map(|(sources, destination, from, chown, chmod)| {
                Op::Copy(CopyOp {
                    sources,
                    destination,
                    from,
                    chown,
                    chmod,
                })
            });
        let from = option().prop_map(|manifest| Op::From(FromOp { manifest }));
        prop_oneof![
            run,
            copy.prop_flat_map(|op| prop_oneof![
                Just(op.clone()),
                Just(match op {
                    Op::Copy(op) => Op::Add(op),
                    other => other,
                })
            ]),
            from,
            Just(Op::Edit),
            change().prop_map(Op::Config)
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn different_ops_have_different_bytes(a in op(), b in op()) {
            prop_assert_eq!(a == b, a.encode() == b.encode(), "{:?} {:?}", a, b);
        }

        #[test]
        fn an_op_survives_its_record(a in op()) {
            let text = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(serde_json::from_str::<Op>(&text).unwrap(), a);
        }
    }

    fn list(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn history_has_the_shape_the_field_knows() {
        let run = RunOp {
            args: list(&["/bin/sh", "-c", "make && make install"]),
            ..RunOp::default()
        };
        let copy = CopyOp {
            sources: list(&["site/", "a b"]),
            destination: "/var/www/".into(),
            chown: Some("33:33".into()),
            chmod: Some(0o644),
            from: None,
        };
        let table = [
            (Op::Run(run), Some("RUN /bin/sh -c make && make install")),
            (
                Op::Copy(copy),
                Some("COPY --chown=33:33 --chmod=644 site/ a b /var/www/"),
            ),
            (
                Op::Config(Change::Cmd(list(&["a", "b \"c\""]))),
                Some(r#"CMD ["a","b \"c\""]"#),
            ),
            (
                Op::Config(Change::Env("A".into(), "b=c".into())),
                Some("ENV A=b=c"),
            ),
            (
                Op::Config(Change::Volume("/data".into())),
                Some(r#"VOLUME ["/data"]"#),
            ),
            (Op::Config(Change::Author("me".into())), None),
            (Op::From(FromOp::default()), None),
        ];
        for (op, text) in table {
            assert_eq!(op.history().as_deref(), text, "{op:?}");
        }
    }
}
