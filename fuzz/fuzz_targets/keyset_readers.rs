//! Any bytes as a stored keyset. What is accepted works, and reads back the same from every form in clear.
#![no_main]

use cache_core::Secret;
use cache_layers::keyset::{KeysetEditor, KeysetForm, load};
use futures::executor::block_on;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let stored = Secret::new(bytes.to_vec());
    let peeked = KeysetEditor::peek(&stored);
    let loaded = block_on(load(&stored, None));
    let read = block_on(KeysetEditor::read(&stored, None));
    assert_eq!(loaded.is_ok(), read.is_ok(), "both check the same");
    let (Ok(keyset), Ok((editor, form))) = (loaded, read) else {
        return;
    };
    assert_eq!(peeked.unwrap(), (Some(editor.info()), form));
    let sealed = keyset.seal(b"text", b"name").unwrap();
    for form in [KeysetForm::Json, KeysetForm::Binary] {
        let written = block_on(editor.write(form, None)).unwrap();
        let (again, found) = block_on(KeysetEditor::read(&written, None)).unwrap();
        assert_eq!((again.info(), found), (editor.info(), form));
        assert_eq!(again.keyset().unwrap().open(&sealed, b"name").unwrap(), b"text");
    }
});
