//! Lists of tags, page by page.

use libimage::ErrorKind;
use trimaran_testkit::{Fault, ImageMaker, Registry, Rule};

use crate::net::{assert_fails, block, cx, image};

fn tags(registry: &Registry) -> Result<Vec<String>, libimage::Error> {
    block(libimage::copy::tags(
        &cx(),
        &image(&registry.reference("image", "latest")),
    ))
}

fn registry_with(count: usize) -> (Registry, Vec<String>) {
    let registry = Registry::start();
    let names: Vec<String> = (0..count).map(|number| format!("v{number:03}")).collect();
    let made = ImageMaker::new().make();
    for name in &names {
        registry.add("image", name, &made);
    }
    (registry, names)
}

#[test]
fn pages_are_joined() {
    for (count, per_page) in [(1, 100), (7, 3), (6, 3), (250, 100)] {
        let (registry, names) = registry_with(count);
        registry.tags_per_page(per_page);
        assert_eq!(
            tags(&registry).unwrap(),
            names,
            "{count} tags, {per_page} a page"
        );
    }
}

#[test]
fn a_list_that_repeats_itself_ends() {
    let (registry, names) = registry_with(7);
    registry.tags_per_page(3);
    registry.fault(Rule::get("*/tags/list").fault(Fault::RepeatTags));
    let found = tags(&registry).unwrap();
    assert!(found.len() <= names.len());
    assert!(registry.count("GET", "*/tags/list") < 5);
}

#[test]
fn a_link_to_another_place_is_refused() {
    let (registry, _) = registry_with(7);
    registry.tags_per_page(3);
    registry.fault(Rule::get("*/tags/list").fault(Fault::Header(
        "Link".into(),
        "</v2/other/tags/list?last=v002>; rel=\"next\"".into(),
    )));
    assert_fails(tags(&registry), ErrorKind::Malformed, &["next page"]);
}

#[test]
fn an_unknown_repository_is_not_found() {
    assert_fails(
        tags(&Registry::start()),
        ErrorKind::NotFound,
        &["list of tags", "image"],
    );
}

#[test]
fn what_is_no_list_is_said_to_be_none() {
    let (registry, _) = registry_with(1);
    registry.fault(Rule::get("*/tags/list").fault(Fault::Replace(b"<html>".to_vec())));
    assert_fails(tags(&registry), ErrorKind::Malformed, &["list of tags"]);
}
