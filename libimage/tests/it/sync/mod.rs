//! Many images at once: what arrives, what is not asked for again, and what happens when one fails.

mod places;

use libimage::{
    ErrorKind,
    config::Credentials,
    context::Context,
    copy::CopyOptions,
    name::ImageRef,
    sync::{
        Age, Newest, Outcome, Place, Selection, SyncAccess, SyncEntry, SyncError, SyncOptions,
        SyncPlan, SyncReport, SyncSource, SyncTarget, sync,
    },
};
use trimaran_testkit::{
    Auth, Content, Fault, Image, ImageMaker, Index, Packing, Registry, Rule, Tree, image::noise,
};

use crate::net::{Recorder, assert_holds, block, builder, cx};

/// An image on a base that all of them share.
fn image(name: &str) -> Image {
    ImageMaker::sample()
        .layer(&Tree::new().file("name", 0o644, name), Packing::Gzip)
        .make()
}

fn below(place: Place) -> SyncTarget {
    SyncTarget::Below {
        place,
        scoped: false,
    }
}

fn mirror(registry: &Registry) -> SyncTarget {
    below(Place::Registry(format!("{}/mirror", registry.host())))
}

fn repository(registry: &Registry, path: &str) -> SyncSource {
    SyncSource::Repository(format!("{}/{path}", registry.host()).parse().unwrap())
}

fn plan(entries: impl IntoIterator<Item = SyncEntry>) -> SyncPlan {
    SyncPlan {
        entries: entries.into_iter().collect(),
    }
}

fn run(plan: &SyncPlan, options: &SyncOptions) -> SyncReport {
    run_in(&cx(), plan, options)
}

fn run_in(cx: &Context, plan: &SyncPlan, options: &SyncOptions) -> SyncReport {
    block(sync(cx, plan, options)).unwrap()
}

fn words(report: &SyncReport) -> Vec<&'static str> {
    report
        .images
        .iter()
        .map(|image| image.outcome.word())
        .collect()
}

/// Where the images went, without the host.
fn destinations(report: &SyncReport) -> Vec<String> {
    let name = |to: &Option<ImageRef>| match to {
        Some(ImageRef::Docker(name)) => format!("{}:{}", name.repository(), name.reference()),
        other => panic!("{other:?} is in no registry"),
    };
    report.images.iter().map(|image| name(&image.to)).collect()
}

/// A registry whose repository `team/app` has these tags.
fn source(tags: &[&str]) -> Registry {
    let registry = Registry::start();
    for tag in tags {
        registry.add("team/app", tag, &image(tag));
    }
    registry
}

fn methods(registry: &Registry) -> Vec<String> {
    let mut methods: Vec<String> = registry
        .requests()
        .into_iter()
        .filter(|request| request.path != "/v2/")
        .map(|request| request.method)
        .collect();
    methods.sort();
    methods
}

#[test]
fn a_second_run_is_heads_and_one_list() {
    let tags: Vec<String> = (0..20).map(|number| format!("1.{number}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let (from, to) = (source(&tags), Registry::start());
    let all = plan([SyncEntry::new(repository(&from, "team/app"), mirror(&to))]);
    let first = run(&all, &SyncOptions::default());
    assert_eq!(words(&first), ["copied"; 20]);
    for tag in &tags {
        assert_holds(&to, "mirror/app", tag, &image(tag));
    }
    assert_eq!(to.open_uploads(), 0);

    for registry in [&from, &to] {
        registry.forget_requests();
    }
    let second = run(&all, &SyncOptions::default());
    assert_eq!(words(&second), ["unchanged"; 20]);
    assert_eq!(second.totals().requests, 41, "{:?}", second.totals());
    assert_eq!(methods(&from), [&["GET"][..], &["HEAD"; 20]].concat());
    assert_eq!(methods(&to), ["HEAD"; 20]);
    assert_eq!(from.count("GET", "*/tags/list"), 1);

    // Tags that are named need no list.
    for registry in [&from, &to] {
        registry.forget_requests();
    }
    let selection = Selection {
        tags: vec!["1.3".into(), "1.4".into()],
        ..Selection::default()
    };
    let named = plan([SyncEntry {
        selection,
        ..all.entries[0].clone()
    }]);
    let third = run(&named, &SyncOptions::default());
    assert_eq!((third.listing_requests, third.totals().requests), (0, 4));
    assert_eq!(
        (methods(&from), methods(&to)),
        (vec!["HEAD".into(); 2], vec!["HEAD".into(); 2])
    );
}

#[test]
fn what_images_share_is_sent_once() {
    let (from, to) = (source(&["a", "b", "c", "d"]), Registry::start());
    from.add("team/tool", "a", &image("tool"));
    from.add("other/tool", "z", &image("other"));
    let options = SyncOptions {
        parallel: 6,
        ..SyncOptions::default()
    };
    let entries = ["team/app", "team/tool", "other/tool"]
        .map(|path| SyncEntry::new(repository(&from, path), mirror(&to)));
    let report = run(&plan(entries), &options);
    assert_eq!(words(&report), ["copied"; 6]);
    let base = ImageMaker::sample().make();
    for layer in &base.layers {
        let digest = &layer.blob.digest;
        let fetched = from.count("GET", &format!("*/blobs/{digest}"));
        assert_eq!(fetched, 1, "{digest} is fetched once for all tags");
    }
    for (path, tag, name) in [
        ("mirror/app", "a", "a"),
        ("mirror/app", "d", "d"),
        ("mirror/tool", "a", "tool"),
        ("mirror/tool", "z", "other"),
    ] {
        assert_holds(&to, path, tag, &image(name));
    }
    assert_eq!(to.open_uploads(), 0);

    // Into one layout each blob comes once as well.
    let from = source(&["a", "b", "c", "d"]);
    let directory = tempfile::tempdir().unwrap();
    let target = below(Place::Layout(directory.path().join("layout")));
    let report = run(
        &plan([SyncEntry::new(repository(&from, "team/app"), target)]),
        &options,
    );
    assert_eq!(words(&report), ["copied"; 4]);
    for layer in &base.layers {
        let digest = &layer.blob.digest;
        assert_eq!(
            from.count("GET", &format!("*/blobs/{digest}")),
            1,
            "{digest}"
        );
    }
}

#[test]
fn what_must_not_change_is_not_asked_for_at_the_source() {
    let tags = ["v1", "v2", "v3", "v4", "latest"];
    let (from, to) = (source(&tags), Registry::start());
    for tag in ["v1", "v2", "latest"] {
        to.add("mirror/app", tag, &image("older"));
    }
    let selection = Selection {
        tags: tags.map(str::to_owned).to_vec(),
        ..Selection::default()
    };
    let fixed = plan([SyncEntry {
        selection,
        ..SyncEntry::new(repository(&from, "team/app"), mirror(&to))
    }]);
    let options = SyncOptions {
        immutable_tags: vec!["v*".parse().unwrap()],
        ..SyncOptions::default()
    };
    let report = run(&fixed, &options);
    assert_eq!(
        words(&report),
        ["immutable", "immutable", "copied", "copied", "copied"]
    );
    assert_eq!(
        from.count("*", "*/manifests/v1") + from.count("HEAD", "*/manifests/v2"),
        0
    );
    assert_eq!(
        to.manifest("mirror/app", "v1").unwrap(),
        *image("older").root()
    );
    assert_holds(&to, "mirror/app", "latest", &image("latest"));

    for registry in [&from, &to] {
        registry.forget_requests();
    }
    let again = run(&fixed, &options);
    assert_eq!(
        words(&again),
        [
            "immutable",
            "immutable",
            "immutable",
            "immutable",
            "unchanged"
        ]
    );
    assert_eq!(
        (methods(&from), methods(&to)),
        (vec!["HEAD".into()], vec!["GET".into(), "HEAD".into()])
    );

    // Few of them are asked for one by one, and so are all where the list is not for us.
    for registry in [&from, &to] {
        registry.forget_requests();
    }
    let mut few = fixed.clone();
    few.entries[0].selection.tags = vec!["v1".into(), "latest".into()];
    run(&few, &options);
    assert_eq!(
        (methods(&from), methods(&to)),
        (vec!["HEAD".into()], vec!["HEAD".into(); 2])
    );
    to.fault(Rule::get("*/tags/list").fault(Fault::Status(403)));
    to.forget_requests();
    let refused = run(&fixed, &options);
    assert_eq!(refused.totals().immutable, 4);
    assert_eq!(to.count("HEAD", "*/manifests/v*"), 4);

    // A destination that does not exist has no such tags.
    let fresh = Registry::start();
    let mut elsewhere = fixed.clone();
    elsewhere.entries[0].target = mirror(&fresh);
    assert_eq!(words(&run(&elsewhere, &options)), ["copied"; 5]);
}

#[test]
fn one_failure_stops_what_has_not_begun_or_does_not() {
    let tags = ["a", "b", "c", "d"];
    let broken = || {
        let from = source(&tags);
        from.fault(Rule::any("*/manifests/b").fault(Fault::Status(403)));
        from
    };
    let (from, to) = (broken(), Registry::start());
    let options = SyncOptions {
        parallel: 1,
        ..SyncOptions::default()
    };
    let all = plan([SyncEntry::new(repository(&from, "team/app"), mirror(&to))]);
    let report = run(&all, &options);
    assert_eq!(
        words(&report),
        ["copied", "failed", "not-tried", "not-tried"]
    );
    let Outcome::Failed { kind, message } = &report.images[1].outcome else {
        panic!("it failed")
    };
    assert_eq!(*kind, ErrorKind::Denied, "{message}");
    assert!(
        message.contains("403") && message.contains("team/app"),
        "{message}"
    );
    assert!(report.failed());
    assert_eq!(to.manifest("mirror/app", "c"), None);

    let keep_going = SyncOptions {
        keep_going: true,
        ..options.clone()
    };
    let report = run(&all, &keep_going);
    assert_eq!(words(&report), ["unchanged", "failed", "copied", "copied"]);
    from.heal();
    let report = run(&all, &options);
    assert_eq!(
        words(&report),
        ["unchanged", "copied", "unchanged", "unchanged"]
    );
    assert!(!report.failed());

    // A source that cannot be listed is a failure too.
    let from = broken();
    let entries = || {
        [
            SyncEntry::new(repository(&from, "nobody/here"), mirror(&to)),
            SyncEntry {
                selection: Selection {
                    tags: vec!["a".into()],
                    ..Selection::default()
                },
                ..SyncEntry::new(repository(&from, "team/app"), mirror(&to))
            },
        ]
    };
    let stopped = run(&plan(entries()), &options);
    assert_eq!(words(&stopped), ["not-tried"]);
    assert_eq!(stopped.failed_sources.len(), 1);
    assert_eq!(stopped.failed_sources[0].kind, ErrorKind::NotFound);
    let report = run(&plan(entries()), &keep_going);
    assert_eq!(
        (words(&report), report.totals().failed),
        (vec!["unchanged"], 1)
    );
}

#[test]
fn a_tag_that_moved_is_copied_again() {
    let (from, to) = (source(&["a", "b"]), Registry::start());
    let all = plan([SyncEntry::new(repository(&from, "team/app"), mirror(&to))]);
    run(&all, &SyncOptions::default());
    from.add("team/app", "b", &image("moved"));
    let recorder = Recorder::new();
    let cx = builder().progress(recorder.clone()).build();
    let report = run_in(&cx, &all, &SyncOptions::default());
    assert_eq!(words(&report), ["unchanged", "copied"]);
    assert_holds(&to, "mirror/app", "b", &image("moved"));
    assert_eq!(recorder.count("Image {"), 2);
    assert_eq!(
        report.images[1].blobs, 2,
        "the new layer and the configuration"
    );
}

#[test]
fn a_dry_run_writes_nothing() {
    let (from, to) = (source(&["a", "b", "c"]), Registry::start());
    to.add("mirror/app", "a", &image("a"));
    to.add("mirror/app", "b", &image("older"));
    let options = SyncOptions {
        dry_run: true,
        ..SyncOptions::default()
    };
    let all = plan([SyncEntry::new(repository(&from, "team/app"), mirror(&to))]);
    let report = run(&all, &options);
    assert_eq!(words(&report), ["unchanged", "would-copy", "would-copy"]);
    let replaced = |at: usize| match &report.images[at].outcome {
        Outcome::WouldCopy { digest, replaces } => (
            digest.as_ref().unwrap().to_string(),
            replaces.as_ref().map(ToString::to_string),
        ),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        replaced(1),
        (
            image("b").digest().to_owned(),
            Some(image("older").digest().to_owned())
        )
    );
    assert_eq!(replaced(2), (image("c").digest().to_owned(), None));
    assert!(
        methods(&to).iter().all(|method| method == "HEAD"),
        "{:?}",
        to.requests()
    );

    let directory = tempfile::tempdir().unwrap();
    for place in [Place::Dirs, Place::Layout, Place::Layouts] {
        let target = below(place(directory.path().join("none")));
        let report = run(
            &plan([SyncEntry::new(repository(&from, "team/app"), target)]),
            &options,
        );
        assert_eq!(words(&report), ["would-copy"; 3]);
        assert!(!directory.path().join("none").exists());
    }
}

#[test]
fn a_dry_run_knows_what_platforms_would_make() {
    let (from, to) = (Registry::start(), Registry::start());
    let foreign = ImageMaker::sample().platform("linux", "s390x", None).make();
    let index = Index::new(vec![image("here"), foreign.clone()]);
    from.add("team/app", "a", &index);
    to.add("mirror/app", "a", &foreign);
    let platforms = vec!["linux/s390x".parse().unwrap()];
    let options = SyncOptions {
        dry_run: true,
        copy: CopyOptions {
            platforms: platforms.clone(),
            ..CopyOptions::default()
        },
        ..SyncOptions::default()
    };
    let entry = SyncEntry::new(repository(&from, "team/app"), mirror(&to));
    let report = run(&plan([entry.clone()]), &options);
    assert_eq!(words(&report), ["unchanged"]);
    // The entry's own platforms come before the options'.
    let entry = SyncEntry { platforms, ..entry };
    assert_eq!(
        words(&run(&plan([entry]), &SyncOptions::default())),
        ["unchanged"]
    );
}

#[test]
fn nonsense_in_a_list_is_left_out() {
    let (from, to) = (source(&["a"]), Registry::start());
    let list = br#"{"tags": ["../../x", "a", "", "b c", "x/y", "a\u0000"]}"#;
    from.fault(Rule::get("*/tags/list").fault(Fault::Replace(list.to_vec())));
    let recorder = Recorder::new();
    let cx = builder().progress(recorder.clone()).build();
    let directory = tempfile::tempdir().unwrap();
    for target in [mirror(&to), below(Place::Dirs(directory.path().to_owned()))] {
        let all = plan([SyncEntry::new(repository(&from, "team/app"), target)]);
        let report = run_in(&cx, &all, &SyncOptions::default());
        assert_eq!(words(&report), ["copied"]);
    }
    assert_eq!(recorder.count("Warning"), 10);
    let catalog = br#"{"repositories": ["team/app", "Team", "..", "a//b"]}"#;
    from.heal();
    from.fault(Rule::get("*/_catalog").fault(Fault::Replace(catalog.to_vec())));
    let all = SyncSource::Registry {
        host: from.host(),
        repositories: Vec::new(),
    };
    let report = run_in(
        &cx,
        &plan([SyncEntry::new(all, mirror(&to))]),
        &SyncOptions::default(),
    );
    assert_eq!(words(&report), ["unchanged"]);
    assert_eq!(recorder.count("Warning"), 13);
}

#[test]
fn the_newest_by_date() {
    let (from, to) = (Registry::start(), Registry::start());
    let dated = |date: &str, name: &str| {
        ImageMaker::sample()
            .created(date)
            .layer(&Tree::new().file("name", 0o644, name), Packing::Gzip)
            .make()
    };
    from.add("a", "9", &dated("2020-01-01T00:00:00Z", "old"));
    from.add("a", "1", &dated("2025-01-01T00:00:00+01:00", "new"));
    let foreign = ImageMaker::sample()
        .created("2024-06-01T00:00:00Z")
        .platform("linux", "s390x", None)
        .make();
    from.add("a", "5", &Index::new(vec![foreign]));
    let by = |count, age| {
        let selection = Selection {
            newest: Some(Newest { count, age }),
            ..Selection::default()
        };
        let entry = SyncEntry {
            selection,
            ..SyncEntry::new(repository(&from, "a"), mirror(&to))
        };
        destinations(&run(
            &plan([entry]),
            &SyncOptions {
                dry_run: true,
                ..SyncOptions::default()
            },
        ))
    };
    assert_eq!(by(2, Age::Created), ["mirror/a:1", "mirror/a:5"]);
    assert_eq!(by(2, Age::Version), ["mirror/a:9", "mirror/a:5"]);
    assert_eq!(by(0, Age::Version), [""; 0]);
}

#[test]
fn a_registry_of_the_plan_has_credentials_of_its_own() {
    let from = Registry::with_auth(Auth::Bearer("john".into(), "secret".into()));
    from.add("team/app", "a", &image("a"));
    let (open, to) = (source(&["b"]), Registry::start());
    let closed = SyncEntry::new(repository(&from, "team/app"), mirror(&to));
    let access = SyncAccess {
        credentials: Credentials::parse("john:secret"),
        ..SyncAccess::default()
    };
    let entries = plan([
        SyncEntry {
            access,
            ..closed.clone()
        },
        SyncEntry::new(repository(&open, "team/app"), mirror(&to)),
    ]);
    let report = run(&entries, &SyncOptions::default());
    assert_eq!(words(&report), ["copied"; 2], "{report:?}");
    assert!(
        open.requests()
            .iter()
            .all(|request| request.authorization.is_none())
    );
    let report = run(&plan([closed]), &SyncOptions::default());
    assert_eq!(report.failed_sources[0].kind, ErrorKind::Unauthorized);
}

#[test]
fn tokens_and_connections_are_shared() {
    let from = Registry::with_auth(Auth::BearerAnonymous);
    let to = Registry::start();
    for number in 0..12 {
        from.add(
            "team/app",
            &format!("v{number}"),
            &image(&number.to_string()),
        );
    }
    let all = plan([SyncEntry::new(repository(&from, "team/app"), mirror(&to))]);
    run(&all, &SyncOptions::default());
    from.forget_requests();
    let report = run(&all, &SyncOptions::default());
    assert_eq!(words(&report), ["unchanged"; 12]);
    let tokens = from
        .requests()
        .into_iter()
        .filter(|request| request.path.contains("token"))
        .count();
    assert_eq!(tokens, 1, "{:#?}", from.requests());
}

#[test]
fn big_blobs_of_parallel_images_arrive_whole() {
    let (from, to) = (Registry::start(), Registry::start());
    for name in ["a", "b", "c"] {
        let tree = Tree::new().file(name, 0o644, noise(1_500_000));
        let image = ImageMaker::sample().layer(&tree, Packing::Gzip).make();
        from.add("team/app", name, &image);
    }
    from.fault(
        Rule::get("*/blobs/*")
            .first(4)
            .fault(Fault::ResetAt(10_000)),
    );
    let all = plan([SyncEntry::new(repository(&from, "team/app"), mirror(&to))]);
    let report = run(&all, &SyncOptions::default());
    assert_eq!(words(&report), ["copied"; 3], "{report:?}");
    assert_eq!(to.open_uploads(), 0);
}

#[test]
fn it_may_be_spawned() {
    fn is_send<T: Send>(future: T) -> T {
        future
    }
    let (cx, plan, options) = (cx(), SyncPlan::default(), SyncOptions::default());
    let report = block(is_send(sync(&cx, &plan, &options))).unwrap();
    assert_eq!(report.images.len(), 0);
    let target: Result<SyncTarget, SyncError> =
        SyncTarget::parse_repository("docker://a.example.com/x:1");
    assert!(target.is_err());
}
