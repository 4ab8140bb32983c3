//! By which transport and scopes the policy knows an image.

use std::path::{Path, PathBuf};

use crate::{
    config::{
        Policy, Requirement,
        scope::{docker_scopes, wildcards},
    },
    name::{ImageRef, Name},
};

/// Returns what the policy asks of an image.
pub(super) fn requirements<'a>(policy: &'a Policy, image: &ImageRef) -> &'a [Requirement] {
    let transport = match image {
        ImageRef::Store(_) | ImageRef::Bare(_) => "containers-storage",
        other => other.transport(),
    };
    let in_path = |path, tag| path_scopes(policy, transport, path, tag);
    let scopes = match image {
        ImageRef::Docker(name) => registry_scopes(name),
        ImageRef::Oci { path, tag } | ImageRef::OciArchive { path, tag } => {
            in_path(path, tag.as_deref())
        }
        ImageRef::Dir { path } => in_path(path, None),
        // The format knows no scopes for it.
        ImageRef::DockerArchive { .. } => Vec::new(),
        ImageRef::DockerDaemon(name) => match name.parse() {
            Ok(name) => docker_scopes(&name),
            Err(_) => vec![name.clone()],
        },
        ImageRef::Store(name) | ImageRef::Bare(name) => vec![name.clone()],
    };
    policy.requirements(transport, scopes.iter().map(String::as_str))
}

/// Returns the name that a signature could give the image; what is not in a registry has none.
pub(super) fn name(image: &ImageRef) -> Option<&Name> {
    match image {
        ImageRef::Docker(name) => Some(name),
        _ => None,
    }
}

fn registry_scopes(name: &Name) -> Vec<String> {
    let mut scopes = docker_scopes(name);
    scopes.extend(wildcards(name));
    scopes
}

/// The path with its tag, the path, and its parents. The policy speaks of absolute paths without symlinks, so that is what is
/// made of the path, as far as it exists; where the policy has nothing to say about paths, nobody looks.
fn path_scopes(policy: &Policy, transport: &str, path: &Path, tag: Option<&str>) -> Vec<String> {
    if !policy.has_scopes(transport) {
        return Vec::new();
    }
    of_path(&resolved(path), tag)
}

fn of_path(path: &Path, tag: Option<&str>) -> Vec<String> {
    let with_tag = tag.map(|tag| format!("{}:{tag}", path.display()));
    with_tag
        .into_iter()
        .chain(path.ancestors().map(|parent| parent.display().to_string()))
        .filter(|scope| !scope.is_empty() && scope != "/")
        .collect()
}

/// Resolves the longest part of a path that exists.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for parent in absolute.ancestors() {
        if let (Ok(real), Ok(rest)) = (parent.canonicalize(), absolute.strip_prefix(parent)) {
            return if rest.as_os_str().is_empty() {
                real
            } else {
                real.join(rest)
            };
        }
    }
    absolute
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_go_from_the_whole_name_to_the_most_general() {
        let name: Name = "registry.example.org:5000/team/app:v1".parse().unwrap();
        let expected = [
            "registry.example.org:5000/team/app:v1",
            "registry.example.org:5000/team/app",
            "registry.example.org:5000/team",
            "registry.example.org:5000",
            "*.example.org",
            "*.org",
        ];
        assert_eq!(registry_scopes(&name), expected);
        assert_eq!(
            of_path(Path::new("/srv/a"), Some("v1")),
            ["/srv/a:v1", "/srv/a", "/srv"]
        );
    }

    #[test]
    fn a_detour_leads_to_the_same_scope() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("bad")).unwrap();
        std::os::unix::fs::symlink(real.join("bad"), real.join("good")).unwrap();
        let text = format!(
            r#"{{"default": [{{"type": "insecureAcceptAnything"}}], "transports": {{"oci": {{"{}": [{{"type": "reject"}}]}}}}}}"#,
            real.join("bad").display()
        );
        let policy = Policy::parse(&text).unwrap();
        let of = |path: PathBuf| {
            let image = ImageRef::Oci { path, tag: None };
            requirements(&policy, &image).to_vec()
        };
        for path in ["bad", "good", "good/../bad", "bad/new", "./bad"] {
            assert_eq!(of(real.join(path)), [Requirement::Reject], "{path}");
        }
        assert_eq!(of(real.join("other")), [Requirement::AcceptAnything]);
    }
}
