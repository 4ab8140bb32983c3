//! Where and as whom a command's container is made.

use std::path::Path;

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Spec};

use crate::capability::CapabilitySet;
use crate::error::{Error, Result};
use crate::idmap::IdMaps;
use crate::rootfs::{PreparedRoot, Root};
use crate::rootless;
use crate::spec::{GROUP, HostFacts, PASSWD, PASSWD_BYTES, UserFiles};

/// What becomes of changes of the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Changes {
    /// They go into memory, of this size.
    Discarded(Option<u64>),
    /// They change the directory, or are refused.
    Direct,
}

impl Default for Changes {
    fn default() -> Self {
        Self::Discarded(None)
    }
}

/// The root, and what the caller may do.
pub(super) struct Place {
    pub(super) root: PreparedRoot,
    pub(super) host: HostFacts,
    /// The ids of the new user namespace that the container needs.
    maps: Option<IdMaps>,
}

impl Place {
    pub(super) fn new(directory: &Path, changes: Changes, read_only: bool) -> Result<Self> {
        let directory = directory.to_owned();
        let root = match changes {
            Changes::Discarded(size_bytes) if !read_only => Root::Memory {
                directory,
                size_bytes,
            },
            _ => Root::Path(directory),
        };
        let failed = |error| Error::from_io(error, "read facts about the host").with_path("/proc");
        let mut host = HostFacts::detect().map_err(failed)?;
        let facts = rootless::facts().map_err(failed)?;
        if !facts.must_enter() {
            let root = PreparedRoot::open(&root)?;
            return Ok(Self {
                root,
                host,
                maps: None,
            });
        }
        let maps = rootless::caller_maps(&facts);
        host.rootless = true;
        host.setgroups = !maps.is_single();
        host.bounding = CapabilitySet::ALL;
        host.ids = Some(maps.clone());
        Ok(Self {
            root: PreparedRoot::postponed(&root)?,
            host,
            maps: Some(maps),
        })
    }

    /// The root's own data base of users.
    pub(super) fn user_files(&self) -> Result<UserFiles> {
        let read = |path| {
            self.root
                .read_file(path, PASSWD_BYTES)
                .map(Option::unwrap_or_default)
        };
        Ok(UserFiles {
            passwd: read(PASSWD)?,
            group: read(GROUP)?,
        })
    }

    /// Gives the container the user namespace that it needs.
    pub(super) fn map_ids(&self, spec: &mut Spec) {
        let (Some(maps), Some(linux)) = (&self.maps, spec.linux_mut()) else {
            return;
        };
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(LinuxNamespaceType::User);
        let mut namespaces = linux.namespaces().clone().unwrap_or_default();
        namespaces.push(namespace);
        linux
            .set_namespaces(Some(namespaces))
            .set_uid_mappings(Some(maps.uid.iter().map(Into::into).collect()))
            .set_gid_mappings(Some(maps.gid.iter().map(Into::into).collect()));
    }
}
