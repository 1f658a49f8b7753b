//! Content of every kind that the specifications allow, and what of it can be asked for.

use std::collections::BTreeMap;

use bytes::Bytes;
use forebay_loadtest::origin::{
    Algorithm, Builder, Content, Descriptor, Digest, ImageSpec, Repository, media_type,
    random_bytes,
};
use serde_json::{Value, json};

/// The type of some artifact.
pub(super) const SBOM: &str = "application/vnd.example.sbom.v1";
/// The type of some other artifact.
pub(super) const SIGNATURE: &str = "application/vnd.example.signature.v1";

/// Content of one kind, in a repository of its own.
#[derive(Debug, Default)]
pub(super) struct Kind {
    pub(super) repository: String,
    /// What may be pulled by digest.
    pub(super) manifests: Vec<Descriptor>,
    pub(super) blobs: Vec<Descriptor>,
    pub(super) tags: BTreeMap<String, Descriptor>,
    /// What refers to what.
    pub(super) referrers: Vec<(Digest, Vec<Descriptor>)>,
}

impl Kind {
    fn manifest(&mut self, repository: &mut Repository, manifest: &Value) -> Descriptor {
        let media_type = manifest["mediaType"]
            .as_str()
            .expect("every manifest has one");
        let bytes = serde_json::to_vec(manifest).expect("it is JSON");
        let mut stored = repository.manifest(media_type, bytes);
        self.manifests.push(stored.clone());
        let own = manifest["artifactType"].as_str();
        let artifact_type = own.or_else(|| manifest["config"]["mediaType"].as_str());
        stored.artifact_type = artifact_type.map(str::to_owned);
        let annotations = serde_json::from_value(manifest["annotations"].clone());
        stored.annotations = annotations.unwrap_or_default();
        stored
    }

    fn blob(
        &mut self,
        repository: &mut Repository,
        media_type: &str,
        bytes: impl Into<Bytes>,
    ) -> Descriptor {
        let mut blob = repository.blob(bytes);
        media_type.clone_into(&mut blob.media_type);
        self.blobs.push(blob.clone());
        blob
    }

    fn tag(&mut self, repository: &mut Repository, tag: &str, manifest: &Descriptor) {
        repository.tag(tag, &manifest.digest);
        self.tags.insert(tag.to_owned(), manifest.clone());
    }

    /// An image's manifest with a config and some layers of its own; `change` may do anything to it.
    fn image(
        &mut self,
        repository: &mut Repository,
        seed: u64,
        change: impl FnOnce(&mut Value),
    ) -> Descriptor {
        let config = json!({"architecture": "amd64", "os": "linux", "author": seed.to_string()});
        let config = self.blob(repository, media_type::OCI_CONFIG, config.to_string());
        let layers: Vec<_> = (0..2)
            .map(|layer| {
                self.blob(
                    repository,
                    media_type::OCI_LAYER,
                    random_bytes(seed + layer, 2048),
                )
            })
            .collect();
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "config": config,
            "layers": layers,
        });
        change(&mut manifest);
        self.manifest(repository, &manifest)
    }

    /// An artifact's manifest: the empty config, and a payload.
    fn artifact(
        &mut self,
        repository: &mut Repository,
        kind: &str,
        change: impl FnOnce(&mut Value),
    ) -> Descriptor {
        let config = self.blob(repository, media_type::OCI_EMPTY, "{}");
        let payload = self.blob(repository, kind, format!("a payload of {kind}"));
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "artifactType": kind,
            "config": config,
            "layers": [payload],
        });
        change(&mut manifest);
        self.manifest(repository, &manifest)
    }

    fn index(
        &mut self,
        repository: &mut Repository,
        children: &[Descriptor],
        change: impl FnOnce(&mut Value),
    ) -> Descriptor {
        let mut index = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_INDEX,
            "manifests": children,
        });
        change(&mut index);
        self.manifest(repository, &index)
    }
}

/// How a kind is made.
type Make = fn(&mut Kind, &mut Repository);

const KINDS: [(&str, Make); 17] = [
    ("kinds/image", |kind, repository| {
        let image = kind.image(repository, 100, |_| {});
        kind.tag(repository, "image", &image);
    }),
    ("kinds/without-media-type", |kind, repository| {
        // A manifest need not say what it is.
        let bytes = r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
        let image = repository.manifest(media_type::OCI_MANIFEST, bytes);
        kind.manifests.push(image.clone());
        kind.blob(repository, media_type::OCI_CONFIG, "{}");
        kind.tag(repository, "image", &image);
    }),
    ("kinds/docker", |kind, repository| {
        let image = kind.image(repository, 200, |manifest| {
            manifest["mediaType"] = media_type::DOCKER_MANIFEST.into();
        });
        let list = kind.index(repository, &[image], |list| {
            list["mediaType"] = media_type::DOCKER_LIST.into();
        });
        kind.tag(repository, "list", &list);
    }),
    ("kinds/large-manifest", |kind, repository| {
        // Just under 4 MiB.
        let pad: BTreeMap<String, String> = (0..418)
            .map(|n| (format!("large-annotation-{n}"), "A".repeat(10_000)))
            .collect();
        let image = kind.image(repository, 300, |manifest| {
            manifest["annotations"] = json!(pad);
        });
        assert!((4_190_000..4 << 20).contains(&image.size), "{}", image.size);
        kind.tag(repository, "large", &image);
    }),
    ("kinds/index", |kind, repository| {
        let children = [400, 410].map(|seed| kind.image(repository, seed, |_| {}));
        let index = kind.index(repository, &children, |_| {});
        kind.tag(repository, "index", &index);
    }),
    ("kinds/nested-index", |kind, repository| {
        let inner = [500, 510].map(|seed| {
            let image = kind.image(repository, seed, |_| {});
            kind.index(repository, &[image], |_| {})
        });
        let outer = kind.index(repository, &inner, |_| {});
        kind.tag(repository, "index-of-indexes", &outer);
    }),
    ("kinds/empty-index", |kind, repository| {
        let index = kind.index(repository, &[], |_| {});
        kind.tag(repository, "empty", &index);
    }),
    ("kinds/artifact", |kind, repository| {
        let artifact = kind.artifact(repository, SBOM, |_| {});
        kind.tag(repository, "artifact", &artifact);
        let bare = kind.artifact(repository, SBOM, |manifest| {
            manifest["layers"] = json!([manifest["config"]]);
        });
        kind.tag(repository, "without-layers", &bare);
    }),
    ("kinds/artifact-index", |kind, repository| {
        let children = [SBOM, SIGNATURE].map(|sort| kind.artifact(repository, sort, |_| {}));
        let index = kind.index(repository, &children, |index| {
            index["artifactType"] = SBOM.into();
        });
        kind.tag(repository, "artifacts", &index);
    }),
    ("kinds/subject", |kind, repository| {
        let subject = kind.image(repository, 600, |_| {});
        kind.tag(repository, "image", &subject);
        let of = |manifest: &mut Value| manifest["subject"] = json!(subject);
        let image = kind.image(repository, 610, of);
        let sbom = kind.artifact(repository, SBOM, |manifest| {
            of(manifest);
            manifest["annotations"] = json!({"org.example.hello": "a \"quoted\" word"});
        });
        let signature = kind.artifact(repository, SIGNATURE, of);
        kind.tag(repository, "tagged-artifact", &sbom);
        let referrers = vec![image, sbom, signature];
        kind.referrers.push((subject.digest.clone(), referrers));
    }),
    ("kinds/index-with-subject", |kind, repository| {
        let child = kind.image(repository, 700, |_| {});
        let subject = kind.index(repository, &[child], |_| {});
        let children = [kind.artifact(repository, SBOM, |_| {})];
        let mut index = |sort: Option<&str>| {
            kind.index(repository, &children, |index| {
                index["subject"] = json!(subject);
                if let Some(sort) = sort {
                    index["artifactType"] = sort.into();
                }
            })
        };
        let referrers = vec![index(Some(SBOM)), index(None)];
        kind.referrers.push((subject.digest, referrers));
    }),
    ("kinds/missing-subject", |kind, repository| {
        let missing = Descriptor::new(media_type::OCI_MANIFEST, Digest::sha256(b"missing"), 7);
        let artifact = kind.artifact(repository, SBOM, |manifest| {
            manifest["subject"] = json!(missing);
        });
        kind.tag(repository, "artifact", &artifact);
        kind.referrers.push((missing.digest, vec![artifact]));
    }),
    ("kinds/data-field", |kind, repository| {
        let artifact = kind.artifact(repository, SBOM, |manifest| {
            manifest["config"]["data"] = "e30=".into();
        });
        kind.tag(repository, "data", &artifact);
    }),
    ("kinds/custom-fields", |kind, repository| {
        let image = kind.image(repository, 800, |manifest| {
            manifest["org.example.field"] = json!({"nested": [1, 2.50, null]});
            manifest["config"]["org.example.field"] = "x".into();
        });
        let index = kind.index(repository, &[image], |index| index["more"] = true.into());
        kind.tag(repository, "custom", &index);
    }),
    ("kinds/non-distributable", |kind, repository| {
        let image = kind.image(repository, 900, |manifest| {
            let layer = &mut manifest["layers"][0];
            layer["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar".into();
            layer["digest"] = Digest::sha256(b"elsewhere").as_str().into();
            layer["urls"] = json!(["https://store.example.com/layer"]);
        });
        kind.tag(repository, "foreign", &image);
    }),
    ("kinds/sparse", |kind, repository| {
        let image = kind.image(repository, 1000, |manifest| manifest["layers"] = json!([]));
        let missing = Descriptor::new(media_type::OCI_MANIFEST, Digest::sha256(b"no child"), 8);
        let index = kind.index(repository, &[image, missing], |_| {});
        kind.tag(repository, "sparse", &index);
    }),
    ("kinds/empty-blobs", |kind, repository| {
        kind.blob(repository, media_type::OCTET_STREAM, "");
        kind.blob(repository, media_type::OCTET_STREAM, "{}");
        for bytes in ["", "{}"] {
            kind.blobs
                .push(repository.blob_by(Algorithm::Sha512, bytes.into()));
        }
    }),
];

/// An origin that holds content of every kind, and what it holds.
pub(super) fn of_every_kind(mut builder: Builder) -> (Builder, Vec<Kind>) {
    let mut kinds = Vec::new();
    for (name, make) in KINDS {
        let mut kind = Kind {
            repository: name.to_owned(),
            ..Kind::default()
        };
        builder = builder.repository(name, |repository| make(&mut kind, repository));
        kinds.push(kind);
    }
    (builder, kinds)
}

/// An index, its images and their blobs, all by SHA-512. What it consists of, the started origin knows.
pub(super) fn by_sha512(builder: Builder, repository: &str) -> Builder {
    builder.repository(repository, |repository| {
        let spec = ImageSpec {
            algorithm: Algorithm::Sha512,
            content: Content::Opaque,
            layer_size: 100_000,
            ..ImageSpec::default()
        };
        drop(repository.multi_arch_image("v1", &spec));
    })
}
