//! Archives of images: `oci-archive:` and `docker-archive:`, read and written as tar.
