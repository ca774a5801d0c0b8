//! Twitter-2015 (Zhang et al. 2018, files of github.com/jefferyYu/UMT): named entities in tweets.

use std::sync::Arc;

use super::format::twitter;
use super::spec::{CorpusReference, CorpusSpec, CropFolders, CropKind, PictureFolders};
use super::twitter2017;

/// Returns what the builder has to know of the corpus: it is laid out as Twitter-2017.
pub fn spec() -> CorpusSpec {
    CorpusSpec {
        name: "twitter2015".into(),
        about: "Twitter-2015, multimodal named-entity recognition (jefferyYu/UMT).".into(),
        classes: ["PER", "LOC", "ORG", "OTHER"].map(str::to_owned).to_vec(),
        pictures: PictureFolders {
            images: vec!["twitter2015_images".into()],
            crops: vec![
                CropFolders {
                    kind: CropKind::Grounding,
                    folder: "twitter2015_aux_images".into(),
                    dictionaries: ["train", "val", "test"].map(|split| format!("twitter2015_{split}_dict.pth")),
                },
                CropFolders {
                    kind: CropKind::Detected,
                    folder: "twitter15_detect".into(),
                    dictionaries: ["twitter15_img2crop.pth"; 3].map(str::to_owned),
                },
            ],
        },
        // Unlike those of Twitter-2017, 374 entities begin with `I-`.
        format: Arc::new(twitter::tweets()),
        reference: CorpusReference {
            origin: "Twitter-2015 (Zhang et al. 2018, files of <https://github.com/jefferyYu/UMT>)".into(),
            citation:
                "Zhang et al. (2018). Adaptive Co-attention Network for Named Entity Recognition in Tweets. AAAI."
                    .into(),
            ..twitter2017::spec().reference
        },
        ..twitter2017::spec()
    }
}
