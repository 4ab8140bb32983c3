//! What is known of an image, as data: the result of `--format json`, and what templates are applied to.
//!
//! Every name is always there, null where the image says nothing: a template that asks for it prints `<no value>`, one that
//! asks for anything else is told so.

use libimage::copy::{Inspected, InspectedImage};
use libimage::manifest::Descriptor;
use libimage::name::ImageRef;
use serde_json::{Value, json};

/// Describes what was found.
pub(super) fn describe(reference: &ImageRef, found: &Inspected) -> Value {
    let manifest: Value = serde_json::from_slice(&found.raw).unwrap_or_default();
    let mut out = json!({
        "name": reference.to_string(),
        "digest": found.digest,
        "mediaType": found.media_type,
        "artifactType": manifest["artifactType"],
        "subject": manifest["subject"],
        "annotations": manifest["annotations"],
        "platforms": found.entries.iter().map(entry).collect::<Vec<_>>(),
        "parts": [],
    });
    let described = match &found.image {
        Some(image) => image_of(image),
        None => {
            if found.entries.is_empty() {
                out["parts"] = manifest["layers"].clone();
            }
            image_of_nothing()
        }
    };
    if let (Value::Object(out), Value::Object(described)) = (&mut out, described) {
        out.extend(described);
    }
    out
}

fn entry(descriptor: &Descriptor) -> Value {
    let platform = descriptor.platform.as_ref();
    json!({
        "platform": platform.map(ToString::to_string),
        "os": platform.map(|platform| &platform.os),
        "architecture": platform.map(|platform| &platform.architecture),
        "variant": platform.and_then(|platform| platform.variant.as_ref()),
        "digest": descriptor.digest,
        "size": descriptor.size,
        "mediaType": descriptor.media_type,
        "artifactType": descriptor.artifact_type,
        "annotations": descriptor.annotations,
    })
}

fn image_of(image: &InspectedImage) -> Value {
    // The configuration may hold anything; what is not there or not as the specification says is shown as null.
    let config: Value = serde_json::from_slice(&image.raw_config).unwrap_or_default();
    let manifest: Value = serde_json::from_slice(&image.raw_manifest).unwrap_or_default();
    let settings = &config["config"];
    let layers: Vec<Value> = image.parts().iter().map(layer).collect();
    json!({
        "imageDigest": image.digest,
        "id": image.config.digest,
        "platform": image.platform.to_string(),
        "os": image.platform.os,
        "architecture": image.platform.architecture,
        "variant": image.platform.variant,
        "created": config["created"],
        "author": config["author"],
        "dockerVersion": config["docker_version"],
        "size": image.layers.iter().map(|layer| layer.size).sum::<u64>(),
        "layers": layers,
        "history": config["history"],
        "imageAnnotations": manifest["annotations"],
        "env": settings["Env"],
        "entrypoint": settings["Entrypoint"],
        "cmd": settings["Cmd"],
        "user": settings["User"],
        "workingDir": settings["WorkingDir"],
        "exposedPorts": settings["ExposedPorts"],
        "volumes": settings["Volumes"],
        "stopSignal": settings["StopSignal"],
        "healthcheck": settings["Healthcheck"],
        "labels": settings["Labels"],
        "config": settings,
    })
}

fn layer(part: &libimage::copy::LayerPart) -> Value {
    json!({
        "digest": part.descriptor.digest,
        "size": part.descriptor.size,
        "mediaType": part.descriptor.media_type,
        "annotations": part.descriptor.annotations,
        "diffId": part.diff_id,
        "createdBy": part.created_by,
        "created": part.created,
    })
}

/// The names of an image that is not there.
fn image_of_nothing() -> Value {
    const NAMES: [&str; 24] = [
        "imageDigest",
        "id",
        "platform",
        "os",
        "architecture",
        "variant",
        "created",
        "author",
        "dockerVersion",
        "size",
        "layers",
        "history",
        "imageAnnotations",
        "env",
        "entrypoint",
        "cmd",
        "user",
        "workingDir",
        "exposedPorts",
        "volumes",
        "stopSignal",
        "healthcheck",
        "labels",
        "config",
    ];
    NAMES
        .iter()
        .map(|name| ((*name).to_owned(), Value::Null))
        .collect()
}
