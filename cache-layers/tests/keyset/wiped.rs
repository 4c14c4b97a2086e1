//! Key material is gone from the process's memory when the last keyset is dropped: the whole memory is searched.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use cache_core::Secret;
use cache_layers::keyset::{Keyset, KeysetEditor, KeysetForm, load};

use crate::rig::Kek;

const MASK: u8 = 0x5a;

/// Finds 16 bytes that are known masked only, so that the pattern is not what is found.
struct Searched {
    masked: [u8; 16],
}

impl Searched {
    /// The start of the key in a binary keyset of one key: after the message's tag `1a 20` for 32 bytes.
    fn key_of(binary: &[u8]) -> Self {
        let at = binary.windows(2).position(|window| window == [0x1a, 32]).unwrap() + 2;
        let mut masked = [0; 16];
        for (masked, byte) in masked.iter_mut().zip(&binary[at..]) {
            *masked = byte ^ MASK;
        }
        Self { masked }
    }

    /// How often the bytes are in memory that can be written: heap, stacks, globals.
    fn count(&self) -> usize {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mut memory = File::open("/proc/self/mem").unwrap();
        let mut found = 0;
        let mut chunk = vec![0; 1 << 20];
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let range = words.next().unwrap();
            if !words.next().unwrap().starts_with("rw") {
                continue;
            }
            let (start, end) = range.split_once('-').unwrap();
            let mut at = u64::from_str_radix(start, 16).unwrap();
            let end = u64::from_str_radix(end, 16).unwrap();
            while at < end {
                let len = usize::try_from((end - at).min(1 << 20)).unwrap();
                if memory.seek(SeekFrom::Start(at)).is_err() || memory.read_exact(&mut chunk[..len]).is_err()
                {
                    break;
                }
                found += self.count_in(&chunk[..len]);
                // The search must not find what it read itself.
                chunk.fill(0);
                // Chunks overlap, so that nothing hides on an edge.
                at += if at + 16 < end && len > 16 {
                    len as u64 - 15
                } else {
                    len as u64
                };
            }
        }
        found
    }

    fn count_in(&self, bytes: &[u8]) -> usize {
        let is_it = |window: &&[u8]| {
            window
                .iter()
                .zip(&self.masked)
                .all(|(byte, masked)| byte ^ MASK == *masked)
        };
        bytes.windows(16).filter(is_it).count()
    }
}

/// Every way a keyset takes through this module.
async fn use_all(editor: &KeysetEditor) -> Keyset {
    let kek = Kek::new("kek");
    for form in [
        KeysetForm::Json,
        KeysetForm::Binary,
        KeysetForm::EncryptedJson,
        KeysetForm::EncryptedBinary,
    ] {
        let kek = form.is_encrypted().then_some(&kek as _);
        let stored = editor.write(form, kek).await.unwrap();
        let (mut again, _) = KeysetEditor::read(&stored, kek).await.unwrap();
        let added = again.add().unwrap();
        again.disable(added).unwrap();
        again.delete(added).unwrap();
        let keyset = load(&stored, kek).await.unwrap();
        let sealed = keyset.seal(b"text", b"name").unwrap();
        assert_eq!(again.keyset().unwrap().open(&sealed, b"name").unwrap(), b"text");
        // Escapes go through buffers of their own.
        if form == KeysetForm::Json {
            let escaped = String::from_utf8(stored.expose().clone())
                .unwrap()
                .replace('=', "\\u003d");
            load(&Secret::new(escaped.into_bytes()), None).await.unwrap();
        }
        // And so does what is refused.
        let mut cut = stored.expose().clone();
        cut.truncate(cut.len() - 3);
        load(&Secret::new(cut), kek).await.unwrap_err();
    }
    editor.keyset().unwrap()
}

#[tokio::test]
async fn no_key_stays_in_memory() {
    let editor = KeysetEditor::create().unwrap();
    let searched = Searched::key_of(editor.write(KeysetForm::Binary, None).await.unwrap().expose());
    let keyset = use_all(&editor).await;
    assert!(searched.count() > 0, "what is in use is found");
    drop(editor);
    drop(keyset);
    assert_eq!(searched.count(), 0, "copies of a key that nothing uses");
}
