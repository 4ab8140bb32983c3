//! What a copy costs: requests, pulls, tokens, connections, bytes fetched and sent.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use libimage::{
    ErrorKind,
    context::{Context, Side},
    copy::{CopyOptions, Referrers},
    registry::{ListOptions, Registry as Client},
};
use trimaran_testkit::{
    Auth, Content, Fault, Image, ImageMaker, Index, Packing, Quota, Registry, Rule,
    image::{Blob, noise},
};

use crate::net::{
    Recorder, assert_fails, assert_holds, basic, block, builder, copy, copy_with, cx, image,
};

/// Copies without looking for what refers to the image, which has tests of its own.
fn alone() -> CopyOptions {
    CopyOptions {
        referrers: Referrers::Never,
        ..CopyOptions::default()
    }
}

fn copied(cx: &Context, from: &str, to: &str) -> libimage::copy::CopyReport {
    copy_with(cx, from, to, &alone()).unwrap()
}

/// An image that shares its first layer with others of this kind.
fn member(number: usize) -> Image {
    ImageMaker::new()
        .tar_layer(&noise(100_000), Packing::Plain)
        .tar_layer(format!("{number}").as_bytes(), Packing::Plain)
        .make()
}

#[test]
fn each_way_of_copying_has_its_price() {
    let made = ImageMaker::sample().make();
    let blobs = made.blobs().len();
    // The source's HEAD and GET of the manifest and a GET a blob; the destination's HEAD and PUT of the manifest.
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", &made);
    let context = cx();
    let there = to.reference("image", "latest");
    copied(&context, &from.reference("image", "latest"), &there);
    assert_eq!(from.requests().len(), 2 + blobs, "{:?}", from.requests());
    assert_eq!(to.requests().len(), 2 + 3 * blobs, "{:?}", to.requests());

    // Nothing to do.
    from.forget_requests();
    to.forget_requests();
    let report = copied(&context, &from.reference("image", "latest"), &there);
    assert!(report.unchanged);
    assert_eq!((from.requests().len(), to.requests().len()), (1, 1));

    // Into another repository of a registry that has it: a POST a blob.
    to.forget_requests();
    let report = copied(&context, &there, &to.reference("other", "latest"));
    assert_eq!((report.mounted as usize, report.copied), (blobs, 0));
    assert_eq!(to.requests().len(), 2 + blobs + 2, "{:?}", to.requests());
    assert_eq!(to.count("GET", "*/blobs/*"), 0);
    assert_holds(&to, "other", "latest", &made);
}

#[test]
fn what_this_run_has_put_is_mounted_and_not_asked_for_again() {
    let (from, to) = (Registry::start(), Registry::start());
    for number in 0..3 {
        from.add(&format!("image-{number}"), "latest", &member(number));
    }
    let context = cx();
    for number in 0..3 {
        let name = format!("image-{number}");
        let report = copied(
            &context,
            &from.reference(&name, "latest"),
            &to.reference(&name, "latest"),
        );
        assert_eq!(report.mounted, u64::from(number > 0), "the shared layer");
        assert_holds(&to, &name, "latest", &member(number));
    }
    let shared = format!("*/blobs/{}", member(0).layers[0].blob.digest);
    assert_eq!(from.count("GET", &shared), 1, "it is fetched once");
    assert_eq!(to.count("HEAD", &shared), 1, "and looked for once");

    // Another tag with the same layers in the same repository: they are known to be there.
    from.add(
        "image-0",
        "again",
        &ImageMaker::new()
            .tar_layer(&noise(100_000), Packing::Plain)
            .make(),
    );
    to.forget_requests();
    copied(
        &context,
        &from.reference("image-0", "again"),
        &to.reference("image-0", "again"),
    );
    assert_eq!(to.count("*", &shared), 0);
    assert_eq!(
        to.requests().len(),
        2 + 3,
        "the manifest, and its configuration: {:?}",
        to.requests()
    );
}

#[test]
fn copies_side_by_side_bring_a_shared_layer_once() {
    let (from, to) = (Registry::start(), Registry::start());
    for number in 0..8 {
        from.add("image", &format!("tag-{number}"), &member(number));
    }
    let context = cx();
    let options = alone();
    block(async {
        let copies = (0..8).map(|number| {
            let tag = format!("tag-{number}");
            let ends = (
                image(&from.reference("image", &tag)),
                image(&to.reference("image", &tag)),
            );
            let (context, options) = (context.clone(), options.clone());
            tokio::spawn(
                async move { libimage::copy::copy(&context, &ends.0, &ends.1, &options).await },
            )
        });
        for copy in copies.collect::<Vec<_>>() {
            copy.await.unwrap().unwrap();
        }
    });
    for number in 0..8 {
        assert_holds(&to, "image", &format!("tag-{number}"), &member(number));
    }
    let shared = format!("*/blobs/{}", member(0).layers[0].blob.digest);
    assert_eq!(from.count("GET", &shared), 1);
    assert_eq!(to.count("HEAD", &shared), 1);
}

#[test]
fn what_a_registry_lost_during_the_run_is_not_believed_to_be_there_for_ever() {
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "one", &member(1));
    from.add("image", "two", &member(2));
    let context = cx();
    copied(
        &context,
        &from.reference("image", "one"),
        &to.reference("image", "one"),
    );
    to.remove_blob("image", &member(1).layers[0].blob.digest);
    let ends = (from.reference("image", "two"), to.reference("image", "two"));
    copy_with(&context, &ends.0, &ends.1, &alone()).unwrap_err();
    copied(&context, &ends.0, &ends.1);
    assert_holds(&to, "image", "two", &member(2));
}

#[test]
fn a_mount_that_is_refused_becomes_an_upload() {
    let made = ImageMaker::sample().make();
    let blobs = made.blobs().len();
    // What the registry answers to the first POST of each blob, and how many POSTs a copy then needs.
    let cases = [
        (Fault::MountRefused, blobs..=blobs),
        (Fault::Status(400), blobs + 1..=2 * blobs),
        (Fault::Status(403), blobs + 1..=2 * blobs),
        (Fault::Status(404), blobs + 1..=2 * blobs),
        (Fault::Status(405), blobs + 1..=2 * blobs),
    ];
    for (fault, posts) in cases {
        let registry = Registry::start();
        registry.add("a", "latest", &made);
        registry.fault(Rule::method("POST", "*?mount=*").fault(fault.clone()));
        let report = copied(
            &cx(),
            &registry.reference("a", "latest"),
            &registry.reference("b", "latest"),
        );
        assert_holds(&registry, "b", "latest", &made);
        assert_eq!(report.copied as usize, blobs, "{fault:?}");
        let sent = registry.count("POST", "*/uploads/");
        assert!(posts.contains(&sent), "{fault:?}: {sent} POSTs");
        assert_eq!(registry.open_uploads(), 0, "{fault:?}");
    }
}

#[test]
fn a_private_registry_gives_one_token_a_side_and_mounts_between_its_repositories() {
    let made = ImageMaker::sample().make();
    let auth = || Auth::Bearer("me".to_owned(), "secret".to_owned());
    let (from, to) = (Registry::with_auth(auth()), Registry::with_auth(auth()));
    from.add("image", "latest", &made);
    let context = builder()
        .credentials(Side::Source, basic("me", "secret"))
        .credentials(Side::Destination, basic("me", "secret"))
        .build();
    copied(
        &context,
        &from.reference("image", "latest"),
        &to.reference("image", "latest"),
    );
    assert_eq!(from.count("*", "/token"), 1);
    assert_eq!(
        to.count("*", "/token"),
        1,
        "for reading and pushing at once"
    );

    let blobs = made.blobs().len();
    let report = copied(
        &context,
        &to.reference("image", "latest"),
        &to.reference("other", "latest"),
    );
    assert_eq!(report.mounted as usize, blobs);
    assert_eq!(report.copied, 0);
    assert_holds(&to, "other", "latest", &made);

    // The second copy's source is elsewhere: the repository to mount from was met by the first.
    from.add("third", "latest", &made);
    let report = copied(
        &context,
        &from.reference("third", "latest"),
        &to.reference("third", "latest"),
    );
    assert_eq!(report.mounted as usize, blobs, "{:?}", to.requests());
}

#[test]
fn the_pulls_left_are_told_and_kept() {
    let index = Index::new(vec![member(1), member(2)]);
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", &index);
    let pulls = |remaining| {
        from.configure(|settings| {
            settings.quota = Some(Quota {
                limit: 100,
                remaining,
                window: 21600,
            });
        });
    };
    let copy_keeping = |least, tag: &str| {
        let options = CopyOptions {
            min_quota: least,
            ..alone()
        };
        copy_with(
            &cx(),
            &from.reference("image", "latest"),
            &to.reference("image", tag),
            &options,
        )
    };
    pulls(50);
    let report = copy_keeping(Some(10), "one").unwrap();
    let quota = report.quota.unwrap();
    assert_eq!((quota.limit, quota.remaining), (Some(100), 47));
    assert_eq!(quota.window, Some(Duration::from_secs(21600)));

    // Looking costs nothing, and stops before anything is fetched.
    pulls(10);
    from.forget_requests();
    let kind = ErrorKind::RateLimited { retry_after: None };
    assert_fails(
        copy_keeping(Some(10), "two"),
        kind,
        &["10 more pulls", &from.host()],
    );
    assert_eq!(from.requests().len(), 1, "{:?}", from.requests());
    assert_eq!(from.pulls_left(), Some(10));

    // In the middle too.
    pulls(11);
    assert_fails(copy_keeping(Some(10), "two"), kind, &[]);
    assert_eq!(from.pulls_left(), Some(10));
    assert!(to.manifest("image", "two").is_none());

    // Who does not ask for it is stopped by the registry alone.
    pulls(0);
    assert_fails(copy_keeping(None, "two"), kind, &["429"]);
    // A copy of what is there needs none.
    assert!(copy_keeping(Some(10), "one").unwrap().unchanged);
}

#[test]
fn waits_that_a_registry_asks_for_are_sat_through_by_everybody() {
    let made = member(1);
    let layer = format!("*/blobs/{}", made.layers[0].blob.digest);
    let date = |seconds| {
        httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(seconds))
    };
    let cases: [(&str, bool, &dyn Fn() -> Fault); 3] = [
        (&layer, true, &|| Fault::RetryAfter(429, 1)),
        ("*/uploads/*", false, &|| Fault::RetryAfter(503, 1)),
        // A date is a whole second: this is at least one from now.
        (&layer, true, &|| Fault::RetryWhen(429, date(2))),
    ];
    for (pattern, at_source, fault) in cases {
        let (from, to) = (Registry::start(), Registry::start());
        from.add("image", "latest", &made);
        // Before the dates are made.
        let started = std::time::Instant::now();
        let refusing = if at_source { &from } else { &to };
        // oci-client does not say how long to wait: what it was refused is asked for again.
        for number in [1, 2] {
            refusing.fault(Rule::any(pattern).nth(number).fault(fault()));
        }
        let recorder = Recorder::new();
        let context = builder().progress(recorder.clone()).build();
        copied(
            &context,
            &from.reference("image", "latest"),
            &to.reference("image", "latest"),
        );
        assert!(started.elapsed() >= Duration::from_millis(900), "{pattern}");
        assert!(recorder.count("Retry") >= 1);
        assert_holds(&to, "image", "latest", &made);
    }
}

#[test]
fn a_wait_that_is_too_long_is_told_to_the_caller() {
    let made = member(1);
    for (status, value) in [(429, "3600"), (503, "3600")] {
        let (from, to) = (Registry::start(), Registry::start());
        from.add("image", "latest", &made);
        from.fault(Rule::get("*/blobs/*").fault(Fault::RetryWhen(status, value.to_owned())));
        let error = copy(
            &cx(),
            &from.reference("image", "latest"),
            &to.reference("image", "latest"),
        )
        .unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
        assert!(
            from.requests().len() <= 8,
            "nobody insists: {:?}",
            from.requests()
        );
        assert_eq!(to.open_uploads(), 0);
    }
}

#[test]
fn a_registry_that_refuses_is_sent_less_and_still_served() {
    let layers = (0..24).fold(ImageMaker::new(), |maker, number| {
        maker.tar_layer(format!("{number}").as_bytes(), Packing::Plain)
    });
    let made = layers.make();
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", &made);
    // Every third request is refused.
    for number in 1..30 {
        to.fault(
            Rule::any("*/blobs/*")
                .nth(3 * number)
                .fault(Fault::RetryAfter(429, 0)),
        );
    }
    let options = CopyOptions {
        jobs: 16,
        ..alone()
    };
    let patient = libimage::context::Patience {
        attempts: 10,
        ..crate::net::patience()
    };
    copy_with(
        &builder().patience(patient).build(),
        &from.reference("image", "latest"),
        &to.reference("image", "latest"),
        &options,
    )
    .unwrap();
    assert_holds(&to, "image", "latest", &made);
    assert!(to.most_at_once() <= 8, "{} at once", to.most_at_once());
}

#[test]
fn requests_share_connections() {
    let layers = (0..30).fold(ImageMaker::new(), |maker, number| {
        maker.tar_layer(format!("{number}").as_bytes(), Packing::Plain)
    });
    let made = layers.make();
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", &made);
    let options = CopyOptions { jobs: 2, ..alone() };
    copy_with(
        &cx(),
        &from.reference("image", "latest"),
        &to.reference("image", "latest"),
        &options,
    )
    .unwrap();
    assert!(to.requests().len() > 90);
    assert!(to.connections() <= 8, "{} connections", to.connections());
    assert!(
        from.connections() <= 8,
        "{} connections",
        from.connections()
    );
}

#[test]
fn the_largest_blob_goes_first() {
    let made = ImageMaker::new()
        .tar_layer(&noise(1000), Packing::Plain)
        .tar_layer(&noise(300_000), Packing::Plain)
        .tar_layer(&noise(20_000), Packing::Plain)
        .make();
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", &made);
    let options = CopyOptions { jobs: 1, ..alone() };
    copy_with(
        &cx(),
        &from.reference("image", "latest"),
        &to.reference("image", "latest"),
        &options,
    )
    .unwrap();
    let sizes: Vec<u64> = to
        .requests()
        .iter()
        .filter(|request| request.method == "PUT" && request.path.contains("/uploads/"))
        .map(|request| request.received)
        .collect();
    assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
}

/// A client for a repository as the destination.
fn client(registry: &Registry, repository: &str) -> Client {
    let name = format!("{}/{repository}:latest", registry.host());
    Client::new(&cx(), Side::Destination, &name.parse().unwrap(), Vec::new()).unwrap()
}

#[test]
fn manifests_and_tags_are_deleted() {
    let registry = Registry::start();
    let made = member(1);
    for tag in ["one", "two"] {
        registry.add("image", tag, &made);
    }
    block(async {
        let client = client(&registry, "image");
        client.delete_manifest("one").await.unwrap();
        assert_eq!(registry.tags("image"), ["two"]);
        assert!(registry.manifest("image", made.digest()).is_some());
        client.delete_manifest(made.digest()).await.unwrap();
        assert!(registry.tags("image").is_empty());
        assert!(registry.manifest("image", made.digest()).is_none());
        let gone = client.delete_manifest(made.digest()).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
        for status in [400, 405] {
            registry.configure(|settings| settings.refuse_tag_deletes = Some(status));
            let refused = client.delete_manifest("two").await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Unsupported);
        }
    });
}

#[test]
fn deleting_and_listing_ask_for_tokens_of_their_own() {
    let registry = Registry::with_auth(Auth::Bearer("me".to_owned(), "secret".to_owned()));
    registry.add("image", "latest", &member(1));
    let context = builder()
        .credentials(Side::Destination, basic("me", "secret"))
        .build();
    let name = format!("{}/image:latest", registry.host());
    let client = Client::new(
        &context,
        Side::Destination,
        &name.parse().unwrap(),
        Vec::new(),
    )
    .unwrap();
    block(async {
        let pages = client.catalog(&ListOptions::default());
        assert_eq!(pages.try_concat().await.unwrap(), ["image"]);
        client.delete_manifest("latest").await.unwrap();
        assert!(registry.tags("image").is_empty());
    });
}

#[test]
fn lists_come_page_by_page_as_they_are_wanted() {
    let registry = Registry::start();
    let blob = Blob::new("application/vnd.oci.image.index.v1+json", b"{}".to_vec());
    for number in 0..10 {
        registry.add_manifest(&format!("team/{number}"), "latest", &blob);
        registry.add_manifest("image", &format!("tag-{number}"), &blob);
    }
    registry.configure(|settings| settings.page = 4);
    block(async {
        let client = client(&registry, "image");
        let mut pages = client.tag_pages(&ListOptions::default());
        assert_eq!(pages.try_next().await.unwrap().unwrap().len(), 4);
        assert_eq!(
            registry.count("GET", "*/tags/list"),
            1,
            "no page is fetched ahead"
        );
        let options = ListOptions {
            page: Some(2),
            last: Some("tag-7".to_owned()),
        };
        let rest: Vec<_> = client.tag_pages(&options).try_collect().await.unwrap();
        assert_eq!(rest.concat(), ["tag-8", "tag-9"]);
        let all = client
            .catalog(&ListOptions::default())
            .try_concat()
            .await
            .unwrap();
        assert_eq!(all.len(), 11);
        assert_eq!(registry.count("GET", "/v2/_catalog"), 3);
    });
}

#[test]
fn blobs_are_got_and_put_by_digest() {
    let registry = Registry::start();
    let blob = Blob::new("application/octet-stream", noise(70_000));
    registry.add_blob("image", &blob);
    let digest = blob.digest.parse().unwrap();
    block(async {
        let here = client(&registry, "image");
        assert_eq!(here.blob_size(&digest).await.unwrap(), Some(70_000));
        let there = client(&registry, "other");
        assert_eq!(there.blob_size(&digest).await.unwrap(), None);
        let descriptor =
            libimage::manifest::Descriptor::new(&blob.media_type, digest.clone(), 70_000);
        let pieces: Vec<_> = here.blob(&descriptor).try_collect().await.unwrap();
        assert_eq!(pieces.concat(), blob.bytes);
        for _ in 0..2 {
            there
                .put_bytes(&descriptor, blob.bytes.clone().into())
                .await
                .unwrap();
        }
        assert_eq!(
            registry.count("PUT", "*/uploads/*"),
            1,
            "what is there is not sent"
        );
        assert_eq!(
            registry.blob("other", &blob.digest),
            Some(blob.bytes.clone())
        );
    });
}
