//! Mirrors, blocked and insecure registries, short names: what registries.conf does to transfers.

use std::sync::Arc;

use libimage::{
    ErrorKind,
    config::{AuthFile, Policy, Registries},
    context::{Context, ContextBuilder, Side},
    name::ImageRef,
    pull::{PullOptions, PullPolicy},
};
use trimaran_testkit::{
    Auth, Content, DebianRegistry, Fault, Image, ImageMaker, Packing, Registry, Rule,
    debian::Options, image::noise, skip,
};

use crate::{
    net::{Recorder, assert_fails, assert_holds, basic, block, builder, copy, patience},
    net_local::open_store,
};

/// A registry with a mirror of its `a`.
struct Pair {
    mirror: Registry,
    origin: Registry,
    to: Registry,
    made: Image,
    told: Arc<Recorder>,
}

impl Pair {
    fn new() -> Self {
        let made = ImageMaker::new()
            .tar_layer(&noise(300_000), Packing::Plain)
            .tar_layer(&noise(200_000), Packing::Gzip)
            .make();
        let pair = Self {
            mirror: Registry::start(),
            origin: Registry::start(),
            to: Registry::start(),
            made,
            told: Arc::default(),
        };
        pair.mirror.add("copies/a", "v", &pair.made);
        pair.origin.add("a", "v", &pair.made);
        pair
    }

    fn conf(&self, more: &str) -> Registries {
        let text = format!(
            "[[registry]]\nlocation = '{}'\n[[registry.mirror]]\nlocation = '{}/copies'\n{more}",
            self.origin.host(),
            self.mirror.host()
        );
        Registries::parse(&text).unwrap()
    }

    fn builder(&self, more: &str) -> ContextBuilder {
        builder()
            .registries(self.conf(more))
            .progress(Arc::clone(&self.told) as _)
    }

    fn copy(&self, cx: &Context) -> Result<(), libimage::Error> {
        copy(
            cx,
            &self.origin.reference("a", "v"),
            &self.to.reference("b", "v"),
        )
        .map(drop)
    }

    fn told(&self) -> String {
        self.told.0.lock().unwrap().join("\n")
    }
}

#[test]
fn a_mirror_that_has_everything_is_enough() {
    let pair = Pair::new();
    pair.copy(&pair.builder("").build()).unwrap();
    assert_holds(&pair.to, "b", "v", &pair.made);
    assert_eq!(pair.origin.requests(), []);
    assert_eq!(pair.origin.tls_probes(), 0);
}

#[test]
fn what_a_mirror_lacks_comes_from_the_registry() {
    let layer = |pair: &Pair| pair.made.blobs()[1].digest.clone();
    type Breaks = fn(&Pair, &str);
    let cases: [(&str, Breaks); 6] = [
        ("tag", |pair, _| {
            pair.mirror
                .fault(Rule::any("*/manifests/v").fault(Fault::Status(404)))
        }),
        ("blob", |pair, blob| {
            pair.mirror
                .fault(Rule::any(&format!("*{blob}")).fault(Fault::Status(404)))
        }),
        ("locked", |pair, _| {
            pair.mirror
                .fault(Rule::any("*/manifests/*").fault(Fault::Status(403)))
        }),
        ("broken blob", |pair, blob| {
            pair.mirror
                .fault(Rule::get(&format!("*{blob}")).fault(Fault::ResetAt(30_000)))
        }),
        ("short blob", |pair, blob| {
            pair.mirror
                .fault(Rule::get(&format!("*{blob}")).fault(Fault::Truncate(100)))
        }),
        ("sick", |pair, _| {
            pair.mirror.fault(Rule::any("*").fault(Fault::Status(503)))
        }),
    ];
    for (what, breaks) in cases {
        let pair = Pair::new();
        breaks(&pair, &layer(&pair));
        pair.copy(&pair.builder("").build())
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_holds(&pair.to, "b", "v", &pair.made);
        assert!(!pair.origin.requests().is_empty(), "{what}");
        assert!(
            what == "tag" || pair.told().contains("not from the mirror"),
            "{what}: {}",
            pair.told()
        );
    }
}

#[test]
fn a_mirror_that_is_gone_is_not_asked_for_every_blob() {
    let pair = Pair::new();
    let gone = {
        let closed = Registry::start();
        closed.host()
    };
    let conf = format!(
        "[[registry]]\nlocation = '{}'\n[[registry.mirror]]\nlocation = '{gone}'",
        pair.origin.host()
    );
    let cx = builder()
        .registries(Registries::parse(&conf).unwrap())
        .progress(Arc::clone(&pair.told) as _)
        .build();
    pair.copy(&cx).unwrap();
    assert_holds(&pair.to, "b", "v", &pair.made);
    assert_eq!(
        pair.told().matches("not from the mirror").count(),
        1,
        "{}",
        pair.told()
    );
}

/// What a mirror sent before it broke off has been verified by nobody.
#[test]
fn a_wrong_beginning_is_not_completed_by_the_registry() {
    let pair = Pair::new();
    let blob = &pair.made.blobs()[1];
    let mut wrong = blob.bytes.clone();
    wrong[10] ^= 1;
    wrong.truncate(wrong.len() - 10);
    pair.mirror
        .fault(Rule::get(&format!("*{}", blob.digest)).fault(Fault::Replace(wrong)));
    assert_fails(
        pair.copy(&pair.builder("").build()),
        ErrorKind::DigestMismatch,
        &["mirror"],
    );
    assert_eq!(pair.to.manifest("b", "v"), None);
    assert_eq!(pair.to.blob("b", &blob.digest), None);
}

#[test]
fn mirrors_for_digests_only_are_not_asked_for_tags() {
    let pair = Pair::new();
    let cx = pair.builder("pull-from-mirror = 'digest-only'").build();
    pair.copy(&cx).unwrap();
    assert_eq!(pair.mirror.requests(), []);
    pair.origin.forget_requests();
    let by_digest = format!("docker://{}/a@{}", pair.origin.host(), pair.made.digest());
    copy(&cx, &by_digest, &pair.to.reference("c", "v")).unwrap();
    assert_eq!(pair.origin.requests(), []);
    assert_holds(&pair.to, "c", "v", &pair.made);
}

#[test]
fn a_registry_s_credentials_are_not_for_its_mirror() {
    let mut pair = Pair::new();
    let locked =
        |user: &str| Registry::with_auth(Auth::Basic(user.to_owned(), "secret".to_owned()));
    (pair.mirror, pair.origin) = (locked("mirrored"), locked("me"));
    pair.mirror.add("copies/a", "v", &pair.made);
    pair.origin.add("a", "v", &pair.made);
    pair.copy(
        &pair
            .builder("")
            .credentials(Side::Source, basic("me", "secret"))
            .build(),
    )
    .unwrap();
    assert!(
        pair.mirror
            .requests()
            .iter()
            .all(|request| request.authorization.is_none())
    );
    // Those that files have for the mirror's own host are.
    pair.origin.forget_requests();
    let stored = format!(
        r#"{{"auths": {{"{}": {{"username": "mirrored", "password": "secret"}}}}}}"#,
        pair.mirror.host()
    );
    let cx = pair
        .builder("")
        .credentials(Side::Source, basic("me", "secret"))
        .auth_file(AuthFile::parse(&stored).unwrap());
    copy(
        &cx.build(),
        &pair.origin.reference("a", "v"),
        &pair.to.reference("c", "v"),
    )
    .unwrap();
    assert_eq!(pair.origin.requests(), []);
}

#[test]
fn blocked_registries_are_asked_nothing() {
    let (from, to) = (Registry::start(), Registry::start());
    from.add("a", "v", &ImageMaker::new().make());
    for blocked in [&from, &to] {
        let conf = format!(
            "[[registry]]\nlocation = '{}'\nblocked = true",
            blocked.host()
        );
        let cx = builder()
            .registries(Registries::parse(&conf).unwrap())
            .build();
        assert_fails(
            copy(&cx, &from.reference("a", "v"), &to.reference("a", "v")),
            ErrorKind::Denied,
            &["blocks", &blocked.host()],
        );
        assert_eq!(blocked.requests(), []);
    }
}

#[test]
fn plain_http_is_allowed_where_it_is_called_insecure_and_not_forbidden() {
    let (from, to) = (Registry::start(), Registry::start());
    let made = ImageMaker::new().make();
    from.add("a", "v", &made);
    let insecure = |registry: &Registry| {
        format!(
            "[[registry]]\nlocation = '{}'\ninsecure = true\n",
            registry.host()
        )
    };
    let strict = |conf: &str| {
        Context::builder(Policy::accept_anything())
            .patience(patience())
            .registries(Registries::parse(conf).unwrap())
    };
    let both = insecure(&from) + &insecure(&to);
    let (there, here) = (from.reference("a", "v"), to.reference("a", "v"));
    assert_fails(
        copy(&strict(&insecure(&from)).build(), &there, &here),
        ErrorKind::Network { transient: false },
        &["TLS"],
    );
    assert_fails(
        copy(
            &strict(&both).tls_verify(Side::Source, true).build(),
            &there,
            &here,
        ),
        ErrorKind::Network { transient: false },
        &["TLS"],
    );
    copy(&strict(&both).build(), &there, &here).unwrap();
    assert_holds(&to, "a", "v", &made);
}

/// An exception for one host is none for those it redirects to.
#[test]
fn who_an_insecure_registry_redirects_to_has_to_prove_who_it_is() {
    let Some(storage) = DebianRegistry::start(&Options {
        tls: true,
        ..Options::default()
    }) else {
        return skip("needs docker-registry and openssl");
    };
    let (from, plain, to) = (Registry::start(), Registry::start(), Registry::start());
    let made = ImageMaker::new()
        .tar_layer(&noise(100_000), Packing::Plain)
        .make();
    from.add("a", "v", &made);
    plain.add("a", "v", &made);
    let insecure: String = [&from, &to]
        .map(|registry| {
            format!(
                "[[registry]]\nlocation = '{}'\ninsecure = true\n",
                registry.host()
            )
        })
        .concat();
    let strict = || {
        Context::builder(Policy::accept_anything())
            .patience(patience())
            .registries(Registries::parse(&insecure).unwrap())
    };
    copy(
        &builder().build(),
        &from.reference("a", "v"),
        &storage.reference("a", "v"),
    )
    .unwrap();
    from.fault(
        Rule::get("*/blobs/*").fault(Fault::Redirect(format!("https://{}", storage.host()))),
    );
    let (there, here) = (from.reference("a", "v"), to.reference("a", "v"));
    let refused = copy(&strict().build(), &there, &here);
    assert_fails(
        refused,
        ErrorKind::Network { transient: false },
        &["not trusted"],
    );
    let certificate = std::fs::read(storage.certificate()).unwrap();
    copy(&strict().extra_roots(certificate).build(), &there, &here).unwrap();
    assert_holds(&to, "a", "v", &made);
    // Nothing secret goes to plain storage either.
    from.heal();
    from.fault(Rule::get("*/blobs/*").fault(Fault::Redirect(format!("http://{}", plain.host()))));
    copy(&strict().build(), &there, &to.reference("b", "v")).unwrap();
    assert_holds(&to, "b", "v", &made);
    assert!(
        plain
            .requests()
            .iter()
            .all(|request| request.authorization.is_none())
    );
}

/// An image is pulled from where it was moved to; what is pushed goes where it was told to go; the policy knows the name alone.
#[test]
fn a_location_is_for_reading_and_the_policy_sees_the_name() {
    let pair = Pair::new();
    let conf = format!(
        "[[registry]]\nprefix = 'named.example/x'\nlocation = '{}'\n[[registry]]\nprefix = '{}'\nlocation = 'nowhere.invalid'",
        pair.origin.host(),
        pair.to.host()
    );
    let policy = r#"{"default": [{"type": "reject"}], "transports": {"docker": {"named.example": [{"type": "insecureAcceptAnything"}]}}}"#;
    let cx = Context::builder(Policy::parse(policy).unwrap())
        .tls_verify(Side::Source, false)
        .tls_verify(Side::Destination, false)
        .patience(patience())
        .registries(Registries::parse(&conf).unwrap())
        .build();
    copy(
        &cx,
        "docker://named.example/x/a:v",
        &pair.to.reference("b", "v"),
    )
    .unwrap();
    assert_holds(&pair.to, "b", "v", &pair.made);
    assert_fails(
        copy(
            &cx,
            &pair.origin.reference("a", "v"),
            &pair.to.reference("c", "v"),
        ),
        ErrorKind::Denied,
        &[],
    );
}

#[test]
fn short_names_are_pulled_as_configured() {
    let pair = Pair::new();
    let home = tempfile::tempdir().unwrap();
    let store = open_store(home.path());
    let (one, two) = (pair.origin.host(), pair.to.host());
    let options = PullOptions {
        policy: PullPolicy::Always,
        unpack: false,
        ..PullOptions::default()
    };
    let pull = |conf: &str, name: &str, options: &PullOptions| {
        let cx = builder()
            .registries(Registries::parse(conf).unwrap())
            .progress(Arc::clone(&pair.told) as _)
            .build();
        let image = ImageRef::parse_or_bare(name).unwrap();
        block(libimage::pull::pull(
            &cx,
            &image,
            Arc::clone(&store),
            options,
        ))
    };
    let search = |mode: &str| {
        format!("unqualified-search-registries = ['{two}', '{one}']\nshort-name-mode = '{mode}'\n")
    };
    assert_fails(
        pull(&search("enforcing"), "a:v", &options),
        ErrorKind::InvalidReference,
        &[&format!("{two}/a:v, {one}/a:v")],
    );
    assert_eq!(pair.to.requests(), []);
    let pulled = pull(&search("permissive"), "a:v", &options).unwrap();
    assert_eq!(pulled.name(), Some(format!("{one}/a:v").as_str()));
    assert!(
        pair.told()
            .contains(&format!("a:v is not docker://{two}/a:v")),
        "{}",
        pair.told()
    );

    let alias = format!("[aliases]\nshort = '{one}/a'\n");
    let pulled = pull(&alias, "short:v", &options).unwrap();
    assert_eq!(pulled.manifest_digest().as_str(), pair.made.digest());
    // It is in the store now, under what the short name means.
    pair.origin.forget_requests();
    pull(
        &alias,
        "short:v",
        &PullOptions {
            policy: PullPolicy::Missing,
            ..options
        },
    )
    .unwrap();
    assert_eq!(pair.origin.requests(), []);
}
