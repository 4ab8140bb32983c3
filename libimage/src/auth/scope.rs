//! Scopes a registry names: `repository:team/app:pull,push`.

/// Actions taken over from one challenge; registries name two or three.
const ACTIONS: usize = 8;
/// Characters of an action.
const ACTION_CHARACTERS: usize = 32;

/// Returns the actions a challenge wants for a repository. What it wants for others is not asked for: whatever is granted is shown to
/// this registry alone, and it has no business in them.
pub(super) fn actions(scope: &str, repository: &str) -> Vec<String> {
    let own = scope.split(' ').filter_map(|scope| {
        let (resource, actions) = scope.rsplit_once(':')?;
        (resource.strip_prefix("repository:")? == repository).then_some(actions)
    });
    let usable = |action: &&str| {
        !action.is_empty()
            && action.len() <= ACTION_CHARACTERS
            && action
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'_' | b'-'))
    };
    own.flat_map(|actions| actions.split(','))
        .filter(usable)
        .take(ACTIONS)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_repository_s_own_actions_are_taken_over() {
        let cases = [
            ("repository:a/b:pull,push", "pull push"),
            (
                "repository:a/b:pull repository:a/b:delete,*",
                "pull delete *",
            ),
            ("repository:c/d:pull", ""),
            ("repository:c/d:pull repository:a/b:push", "push"),
            ("registry:catalog:*", ""),
            ("repository:a/b:", ""),
            ("repository:a/b", ""),
            ("repository:a/b:pu ll,\u{1}x,pull", "pu"),
            ("", ""),
        ];
        for (scope, expected) in cases {
            assert_eq!(actions(scope, "a/b").join(" "), expected, "{scope}");
        }
    }
}
