//! The description of an image for people.

use serde_json::Value;
use std::fmt::Write as _;
use trimaran_cli::human;
use trimaran_cli::table::{Table, printable};

/// How many columns the names of lines take.
const NAMES: usize = 14;
/// Characters of a build step that are shown: more would wrap.
const STEP: usize = 60;

/// Renders a description.
pub(super) fn render(data: &Value) -> String {
    let mut page = Page(String::new());
    page.line("Name", &data["name"]);
    page.line("Digest", &data["digest"]);
    page.line("Media type", &data["mediaType"]);
    page.line("Artifact type", &data["artifactType"]);
    page.line("Subject", &data["subject"]["digest"]);
    page.map("Annotations", &data["annotations"], "=");
    page.platforms(list(&data["platforms"]));
    if data["imageDigest"] != data["digest"] {
        page.line("Image", &data["imageDigest"]);
        page.map("  annotations", &data["imageAnnotations"], "=");
    }
    page.line("Image ID", &data["id"]);
    page.line("Platform", &data["platform"]);
    page.line("Created", &data["created"]);
    page.line("Author", &data["author"]);
    page.line("User", &data["user"]);
    page.line("Working dir", &data["workingDir"]);
    page.words("Entrypoint", &data["entrypoint"]);
    page.words("Cmd", &data["cmd"]);
    page.line("Stop signal", &data["stopSignal"]);
    page.keys("Ports", &data["exposedPorts"]);
    page.keys("Volumes", &data["volumes"]);
    for (at, variable) in list(&data["env"]).iter().enumerate() {
        page.line(if at == 0 { "Env" } else { "" }, variable);
    }
    page.map("Labels", &data["labels"], "=");
    page.layers(data);
    page.parts(list(&data["parts"]));
    page.0
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Null => String::new(),
        other => printable(&other.to_string()),
    }
}

fn size(value: &Value) -> String {
    value.as_u64().map(human::bytes).unwrap_or_default()
}

struct Page(String);

impl Page {
    fn put(&mut self, name: &str, text: &str) {
        let colon = if name.is_empty() { "" } else { ":" };
        let name = format!("{name}{colon}");
        writeln!(self.0, "{name:<NAMES$} {text}").expect("writing to a string succeeds");
    }

    /// A line, unless there is nothing to say.
    fn line(&mut self, name: &str, value: &Value) {
        let text = text(value);
        if !text.is_empty() {
            self.put(name, &text);
        }
    }

    /// A list of words, quoted as they would have to be in JSON: spaces in them are seen.
    fn words(&mut self, name: &str, value: &Value) {
        if !list(value).is_empty() {
            self.put(name, &printable(&value.to_string()));
        }
    }

    fn keys(&mut self, name: &str, value: &Value) {
        let keys: Vec<String> = value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| printable(key))
            .collect();
        if !keys.is_empty() {
            self.put(name, &keys.join(", "));
        }
    }

    fn map(&mut self, name: &str, value: &Value, between: &str) {
        for (at, (key, value)) in value.as_object().into_iter().flatten().enumerate() {
            let line = format!("{}{between}{}", printable(key), text(value));
            self.put(if at == 0 { name } else { "" }, &line);
        }
    }

    fn table(&mut self, heading: &str, table: &Table) {
        write!(self.0, "{heading}\n{table}").expect("writing to a string succeeds");
    }

    fn platforms(&mut self, entries: &[Value]) {
        if entries.is_empty() {
            return;
        }
        let mut table = Table::new(&["  PLATFORM", "SIZE", "DIGEST"]);
        for entry in entries {
            let mut platform = text(&entry["platform"]);
            if platform.is_empty() || platform.starts_with("unknown/") {
                let kind = [
                    &entry["artifactType"],
                    &entry["annotations"]["vnd.docker.reference.type"],
                ];
                let kind = kind.into_iter().map(text).find(|kind| !kind.is_empty());
                platform = format!("({})", kind.as_deref().unwrap_or("no platform"));
            }
            table.row([
                format!("  {platform}"),
                size(&entry["size"]),
                text(&entry["digest"]),
            ]);
        }
        self.table("Platforms:", &table);
    }

    fn layers(&mut self, data: &Value) {
        let layers = list(&data["layers"]);
        if data["id"].is_null() {
            return;
        }
        let total = format!("{}, {} compressed", layers.len(), size(&data["size"]));
        self.put("Layers", &total);
        if layers.is_empty() {
            return;
        }
        let mut table = Table::new(&["  SIZE", "TYPE", "DIGEST", "DIFFID", "CREATED BY"]);
        for layer in layers {
            table.row([
                format!("  {}", size(&layer["size"])),
                short_type(&text(&layer["mediaType"])),
                short(&text(&layer["digest"])),
                short(&text(&layer["diffId"])),
                text(&layer["createdBy"]).chars().take(STEP).collect(),
            ]);
        }
        self.0.push_str(&table.to_string());
    }

    fn parts(&mut self, parts: &[Value]) {
        if parts.is_empty() {
            return;
        }
        let mut table = Table::new(&["  SIZE", "TYPE", "DIGEST", "TITLE"]);
        for part in parts {
            table.row([
                format!("  {}", size(&part["size"])),
                text(&part["mediaType"]),
                text(&part["digest"]),
                text(&part["annotations"]["org.opencontainers.image.title"]),
            ]);
        }
        self.table("Parts:", &table);
    }
}

/// Enough of a digest to tell it from others; `--format json` has all of it.
fn short(digest: &str) -> String {
    let end = digest.find(':').map_or(12, |colon| colon + 13);
    digest.chars().take(end).collect()
}

/// What tells the types of layers apart.
fn short_type(media_type: &str) -> String {
    match media_type {
        "application/vnd.oci.image.layer.v1.tar" => "oci tar",
        "application/vnd.oci.image.layer.v1.tar+gzip" => "oci gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd" => "oci zstd",
        "application/vnd.docker.image.rootfs.diff.tar" => "docker tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => "docker gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => "docker zstd",
        other => other,
    }
    .to_owned()
}
