//! Against a registry that is not ours: Debian's docker-registry.

use libimage::{
    ErrorKind,
    config::Policy,
    context::{Context, Side},
};
use trimaran_testkit::{
    Content, DebianRegistry, ImageMaker, Index, Packing, Registry, debian::Options, image::noise,
    skip,
};

use crate::net::{assert_fails, assert_holds, basic, block, builder, copy, cx, image, patience};

const MISSING: &str = "needs docker-registry, htpasswd and openssl";

fn index() -> Index {
    let large = ImageMaker::new()
        .tar_layer(&noise(5 << 20), Packing::Plain)
        .platform("linux", "arm64", Some("v8"));
    Index::new(vec![ImageMaker::sample().make(), large.make()])
}

#[test]
fn an_index_goes_in_and_comes_out_as_it_was() {
    let Some(debian) = DebianRegistry::start(&Options::default()) else {
        return skip(MISSING);
    };
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", &index());
    let there = debian.reference("team/image", "latest");
    copy(&cx(), &from.reference("image", "latest"), &there).unwrap();
    assert!(
        copy(&cx(), &from.reference("image", "latest"), &there)
            .unwrap()
            .unchanged
    );
    // Between two repositories it mounts; it has no other way to know that the content is there.
    let other = debian.reference("team/other", "v1");
    let report = copy(&cx(), &there, &other).unwrap();
    assert_eq!((report.copied, report.mounted), (0, 6));
    copy(&cx(), &other, &to.reference("image", "back")).unwrap();
    assert_holds(&to, "image", "back", &index());
    let tags = block(libimage::copy::tags(&cx(), &image(&other))).unwrap();
    assert_eq!(tags, ["v1"]);
}

#[test]
fn docker_manifests_keep_their_digest() {
    let Some(debian) = DebianRegistry::start(&Options::default()) else {
        return skip(MISSING);
    };
    let made = ImageMaker::sample().docker().make();
    let (from, to) = (Registry::start(), Registry::start());
    from.add("image", "latest", &made);
    let there = debian.reference("image", "latest");
    let report = copy(&cx(), &from.reference("image", "latest"), &there).unwrap();
    assert_eq!(report.digest.as_str(), made.digest());
    copy(&cx(), &there, &to.reference("image", "latest")).unwrap();
    assert_holds(&to, "image", "latest", &made);
}

#[test]
fn its_passwords_are_respected() {
    let options = Options {
        user: Some(("me".to_owned(), "secret".to_owned())),
        ..Options::default()
    };
    let Some(debian) = DebianRegistry::start(&options) else {
        return skip(MISSING);
    };
    let from = Registry::start();
    from.add("image", "latest", &index());
    let there = debian.reference("image", "latest");
    let with = |password| {
        builder()
            .credentials(Side::Destination, basic("me", password))
            .build()
    };
    assert_fails(
        copy(&with("wrong"), &from.reference("image", "latest"), &there),
        ErrorKind::Unauthorized,
        &[&debian.host(), "\"me\""],
    );
    assert_fails(
        copy(&cx(), &from.reference("image", "latest"), &there),
        ErrorKind::Unauthorized,
        &[&debian.host()],
    );
    copy(&with("secret"), &from.reference("image", "latest"), &there).unwrap();
}

#[test]
fn its_certificate_is_verified() {
    let Some(debian) = DebianRegistry::start(&Options {
        tls: true,
        ..Options::default()
    }) else {
        return skip(MISSING);
    };
    let from = Registry::start();
    let content = index();
    from.add("image", "latest", &content);
    let there = debian.reference("image", "latest");
    let verifying = || {
        Context::builder(Policy::accept_anything())
            .patience(patience())
            .tls_verify(Side::Source, false)
    };
    let untrusted = copy(
        &verifying().build(),
        &from.reference("image", "latest"),
        &there,
    );
    assert_fails(
        untrusted,
        ErrorKind::Network { transient: false },
        &["certificate", &debian.host(), "not trusted"],
    );
    let trusting = verifying()
        .extra_roots(std::fs::read(debian.certificate()).unwrap())
        .build();
    copy(&trusting, &from.reference("image", "latest"), &there).unwrap();
    // And back, which downloads over TLS too.
    let to = Registry::start();
    let back = Context::builder(Policy::accept_anything())
        .patience(patience())
        .tls_verify(Side::Destination, false)
        .extra_roots(std::fs::read(debian.certificate()).unwrap())
        .build();
    copy(&back, &there, &to.reference("image", "latest")).unwrap();
    assert_holds(&to, "image", "latest", &content);
    let again = Registry::start();
    copy(&cx(), &there, &again.reference("image", "latest")).unwrap();
    assert_holds(&again, "image", "latest", &content);
}
