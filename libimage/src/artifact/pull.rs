//! From an artifact to files.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use cap_std::{ambient_authority, fs::Dir};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::{ArtifactError, TITLE, place::FileName};
use crate::{
    context::Context,
    digest::Digest,
    error::Error,
    manifest::{Content, Descriptor},
    name::ImageRef,
    progress::{BlobKind, Event, Progress},
    store::Store,
    transport::{
        Source,
        local::{self, Message},
        meter, worker,
    },
    trust,
};

/// How to pull an artifact. The default writes every file that has a name, and overwrites nothing.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// Only files with one of these types; none means any.
    pub media_types: Vec<String>,
    /// Only files whose names match one of these patterns (`*` is any text, `?` one character); none means any.
    pub include: Vec<String>,
    /// Whether files that are there may be replaced.
    pub overwrite: bool,
    /// How many files are under way at once; 0 is 4.
    pub jobs: usize,
    /// The store that `store:` means.
    pub store: Option<Arc<Store>>,
}

/// What was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pulled {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The kind of artifact.
    pub artifact_type: Option<String>,
    /// The files written, in the manifest's order.
    pub files: Vec<PulledFile>,
    /// Parts without a name, which were not written.
    pub unnamed: u64,
}

/// A file that was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledFile {
    /// Its name below the directory.
    pub name: FileName,
    /// What it is.
    pub descriptor: Descriptor,
}

/// Writes the files of an artifact into a directory, which is made if it is missing.
///
/// Names come from whoever made the artifact: nothing outside the directory is written, and no symlink in it is followed. A file gets
/// its name when it is complete and has the right digest.
///
/// # Errors
///
/// See [`crate::ErrorKind`]. A name that leads elsewhere, two files of one name, or (without `overwrite`) a file that is there
/// end the pull before anything is fetched. Files that were complete when something failed later stay.
///
/// # Concurrency
///
/// Needs a tokio runtime. Dropping the future stops the transfer.
pub async fn pull(
    cx: &Context,
    from: &ImageRef,
    into: &Path,
    options: &PullOptions,
) -> Result<Pulled, Error> {
    trust::admit(cx.policy(), from)?;
    let source = Source::open(cx, from, options.store.as_ref()).await?;
    let artifact = source.verified(cx, None).await?;
    let manifest = artifact.manifest();
    let Content::Image { layers, .. } = manifest.content() else {
        return Err(ArtifactError::Index {
            image: from.to_string(),
        }
        .into());
    };
    let files = files(from, layers, options)?;
    let directory = into.to_owned();
    let into = worker::run("open directory", move || open(&directory)).await?;
    let into = Arc::new(into);
    if !options.overwrite {
        let (root, files) = (Arc::clone(&into), files.clone());
        worker::run("look for files", move || nothing_there(&root, &files)).await?;
    }
    let jobs = if options.jobs == 0 { 4 } else { options.jobs };
    let work = files.iter().map(|file| {
        let fetch = Fetch {
            source: source.clone(),
            into: Arc::clone(&into),
            progress: Arc::clone(cx.progress()),
            overwrite: options.overwrite,
        };
        fetch.file(file.clone())
    });
    worker::several(jobs, work.collect::<Vec<_>>()).await?;
    let unnamed = layers.iter().filter(|layer| title(layer).is_none()).count();
    Ok(Pulled {
        digest: artifact.digest().clone(),
        artifact_type: manifest.artifact_type().map(str::to_owned),
        files,
        unnamed: unnamed as u64,
    })
}

fn open(directory: &Path) -> Result<Dir, ArtifactError> {
    std::fs::create_dir_all(directory)
        .and_then(|()| Dir::open_ambient_dir(directory, ambient_authority()))
        .map_err(|source| ArtifactError::Write {
            title: directory.display().to_string(),
            source,
        })
}

fn title(layer: &Descriptor) -> Option<&String> {
    layer.annotations.get(TITLE)
}

/// Returns the wanted files with their checked names.
fn files(
    image: &ImageRef,
    layers: &[Descriptor],
    options: &PullOptions,
) -> Result<Vec<PulledFile>, ArtifactError> {
    let (mut files, mut seen, mut any) = (Vec::new(), BTreeSet::new(), false);
    for layer in layers {
        let Some(title) = title(layer) else { continue };
        any = true;
        if !options.wants(title, layer) {
            continue;
        }
        let name = FileName::parse(title).ok_or_else(|| ArtifactError::Title {
            image: image.to_string(),
            title: title.chars().take(100).collect(),
        })?;
        if !seen.insert(name.clone()) {
            return Err(ArtifactError::Twice {
                title: title.clone(),
            });
        }
        files.push(PulledFile {
            name,
            descriptor: layer.clone(),
        });
    }
    if files.is_empty() {
        return Err(ArtifactError::NoFiles {
            image: image.to_string(),
            filtered: any,
        });
    }
    Ok(files)
}

impl PullOptions {
    fn wants(&self, title: &str, layer: &Descriptor) -> bool {
        let by_type = self.media_types.is_empty() || self.media_types.contains(&layer.media_type);
        let by_name = self.include.is_empty()
            || self
                .include
                .iter()
                .any(|pattern| matches(pattern.as_bytes(), title.as_bytes()));
        by_type && by_name
    }
}

/// Matches `*` and `?`; linear in the text for each star.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b'?') => (p, t) = (p + 1, t + 1),
            Some(byte) if *byte == text[t] => (p, t) = (p + 1, t + 1),
            // The last star takes one byte more.
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, t) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

fn nothing_there(root: &Dir, files: &[PulledFile]) -> Result<(), ArtifactError> {
    for file in files {
        if file.name.exists(root)? {
            return Err(ArtifactError::Exists {
                title: file.name.as_str().to_owned(),
            });
        }
    }
    Ok(())
}

/// What a task for one file needs.
struct Fetch {
    source: Source,
    into: Arc<Dir>,
    progress: Arc<dyn Progress>,
    overwrite: bool,
}

impl Fetch {
    async fn file(self, file: PulledFile) -> Result<(), Error> {
        let blob = file.descriptor;
        self.progress.event(&Event::Started {
            digest: &blob.digest,
            kind: BlobKind::Other,
            total: Some(blob.size),
        });
        let mut content = meter::metered(self.source.blob(&blob), &blob.digest, &self.progress);
        let (sender, receiver) = mpsc::channel(local::WAITING);
        let (into, name, overwrite) = (self.into, file.name, self.overwrite);
        let write = move || {
            let (parent, mut out) = name.create(&into)?;
            local::write_pieces(receiver, &mut out, name.as_str().as_ref())?;
            name.publish(&parent, out, overwrite)?;
            Ok::<(), Error>(())
        };
        let feeding = async move {
            while let Some(piece) = content.next().await {
                // A thread that is gone has failed, and says why itself.
                if sender.send(Message::Piece(piece?)).await.is_err() {
                    return Ok(());
                }
            }
            drop(sender.send(Message::End).await);
            Ok::<(), Error>(())
        };
        let (fed, written) = tokio::join!(feeding, worker::run("write file", write));
        fed.and(written)?;
        self.progress.event(&Event::Done {
            digest: &blob.digest,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let table = [
            ("*", "anything/at/all", true),
            ("*.json", "a/b.json", true),
            ("*.json", "a.json.txt", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxaxxbxx", false),
            ("", "", true),
            ("", "a", false),
            ("a", "a", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
        let (pattern, text) = ("*a".repeat(1000) + "b", "a".repeat(10_000));
        assert!(
            !matches(pattern.as_bytes(), text.as_bytes()),
            "no pattern takes for ever"
        );
    }
}
