//! Indexes edited by chance stay in order.

use proptest::prelude::*;

use serde_json::{Value, json};

use super::{draft::Draft, *};

/// A step of somebody who edits an index.
#[derive(Debug, Clone)]
enum Step {
    /// Adds an image, with an attestation if so wished.
    Add {
        image: u8,
        architecture: usize,
        attested: bool,
        replace: bool,
    },
    /// Removes what is for a platform.
    Remove { architecture: usize },
    /// Annotates what is for a platform.
    Annotate { architecture: usize, remove: bool },
}

const ARCHITECTURES: [&str; 4] = ["linux/amd64", "linux/arm64", "linux/arm/v6", "linux/arm/v7"];

fn step() -> impl Strategy<Value = Step> {
    let architecture = 0..ARCHITECTURES.len();
    prop_oneof![
        (
            any::<u8>(),
            architecture.clone(),
            any::<bool>(),
            any::<bool>()
        )
            .prop_map(|(image, architecture, attested, replace)| Step::Add {
                image,
                architecture,
                attested,
                replace
            }),
        architecture
            .clone()
            .prop_map(|architecture| Step::Remove { architecture }),
        (architecture, any::<bool>()).prop_map(|(architecture, remove)| Step::Annotate {
            architecture,
            remove
        }),
    ]
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn push(draft: &mut Draft, value: Value, replace: bool) -> Result<(), Error> {
    let entry: Descriptor = serde_json::from_value(value.clone()).unwrap();
    draft.push(&entry, value, replace)
}

fn take(draft: &mut Draft, step: &Step) {
    let selector = |at: usize| [ARCHITECTURES[at].parse::<Selector>().unwrap()];
    match *step {
        Step::Add {
            image,
            architecture,
            attested,
            replace,
        } => {
            let platform: Platform = ARCHITECTURES[architecture].parse().unwrap();
            let image = digest(&format!("{image} {platform}"));
            let value = json!({"mediaType": media::OCI_MANIFEST, "digest": image, "size": 2, "platform": platform, "x": 1});
            let occupied = draft.entries().unwrap().iter().any(|entry| {
                entry.digest != image
                    && entry
                        .platform
                        .as_ref()
                        .is_some_and(|there| platform.covers(there))
            });
            assert_eq!(push(draft, value, replace).is_err(), occupied && !replace);
            if attested
                && draft
                    .entries()
                    .unwrap()
                    .iter()
                    .any(|entry| entry.digest == image)
            {
                let about = json!({media::REFERENCE_DIGEST: image, "kept": "yes"});
                let value = json!({
                    "mediaType": media::OCI_MANIFEST, "digest": digest(image.as_str()), "size": 2,
                    "platform": {"os": "unknown", "architecture": "unknown"}, "annotations": about,
                });
                push(draft, value, false).unwrap();
            }
        }
        Step::Remove { architecture } => {
            let entries = draft.entries().unwrap();
            let before = entries.len();
            match draft.chosen(&entries, &selector(architecture)) {
                Ok(chosen) => {
                    let least = before - chosen.len();
                    draft.drop_entries(&entries, chosen);
                    assert!(draft.entries().unwrap().len() <= least);
                }
                Err(error) => assert_eq!(error.kind(), crate::ErrorKind::NotFound),
            }
        }
        Step::Annotate {
            architecture,
            remove,
        } => {
            let entries = draft.entries().unwrap();
            let Ok(chosen) = draft.chosen(&entries, &selector(architecture)) else {
                return;
            };
            let value = (!remove).then(|| "value".to_owned());
            let change = EntryChange {
                annotations: vec![("name".to_owned(), value)],
                ..EntryChange::default()
            };
            for at in chosen {
                change.edit(draft.values()[at].as_object_mut().unwrap());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn an_edited_index_stays_in_order(steps in proptest::collection::vec(step(), 0..24)) {
        let mut draft = Draft {
            image: "docker://a".to_owned(),
            media_type: media::OCI_INDEX.to_owned(),
            value: json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [], "unheardOf": [1, 2]}),
            old: None,
        };
        for step in &steps {
            take(&mut draft, step);
            let entries = draft.entries().unwrap();
            prop_assert_eq!(entries.len(), draft.values().len());
            let images: Vec<&Descriptor> = entries.iter().filter(|entry| entry.attests().is_none()).collect();
            for (at, image) in images.iter().enumerate() {
                let platform = image.platform.as_ref().unwrap();
                let twin = |other: &&Descriptor| platform.covers(other.platform.as_ref().unwrap());
                prop_assert!(!images[..at].iter().any(twin), "two images for {}", platform);
            }
            for about in entries.iter().filter_map(Descriptor::attests) {
                prop_assert!(images.iter().any(|image| image.digest.as_str() == about), "an attestation of nothing");
            }
            prop_assert_eq!(&draft.value["unheardOf"], &json!([1, 2]));
            prop_assert!(draft.values().iter().all(|value| value.get("x").is_some() || value["annotations"]["kept"] == "yes"));
        }
    }
}
