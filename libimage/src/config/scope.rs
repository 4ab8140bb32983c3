//! The scopes that policy.json and registries.d know an image of a registry by.

use crate::name::Name;

/// The whole reference, the repository, its parents, the host.
pub(crate) fn docker_scopes(name: &Name) -> Vec<String> {
    let repository = name.without_reference();
    let mut scopes = vec![match (name.digest(), name.tag()) {
        (Some(digest), _) => format!("{repository}@{digest}"),
        (None, tag) => format!("{repository}:{}", tag.unwrap_or("latest")),
    }];
    scopes.extend(
        std::iter::successors(Some(repository.as_str()), |scope| {
            scope.rsplit_once('/').map(|(parent, _)| parent)
        })
        .map(str::to_owned),
    );
    scopes
}

/// The wildcards of the host, without its port: `*.example.org`, `*.org`.
pub(crate) fn wildcards(name: &Name) -> Vec<String> {
    let host = name
        .registry()
        .rsplit_once(':')
        .map_or(name.registry(), |(host, _)| host);
    std::iter::successors(host.split_once('.'), |(_, rest)| rest.split_once('.'))
        .map(|(_, parent)| format!("*.{parent}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_go_from_the_whole_name_to_the_host() {
        let name: Name = "registry.example.org:5000/team/app:v1".parse().unwrap();
        let expected = [
            "registry.example.org:5000/team/app:v1",
            "registry.example.org:5000/team/app",
            "registry.example.org:5000/team",
            "registry.example.org:5000",
        ];
        assert_eq!(docker_scopes(&name), expected);
        assert_eq!(wildcards(&name), ["*.example.org", "*.org"]);
        assert!(wildcards(&"localhost/x".parse().unwrap()).is_empty());
    }
}
