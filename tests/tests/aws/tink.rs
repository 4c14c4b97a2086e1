//! Google's Tink in Python and ours, over one KMS key: each opens what the other encrypted.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cache_aws::KmsKeyEncryption;
use cache_core::keyset::KeyEncryption as _;
use serde_json::json;
use tests::emulator::REGION;
use tests::{Emulator, EmulatorKind, Python};
use tokio::process::Command;

use crate::setup::at;

const PACKAGES: &[&str] = &["tink==1.16.1", "boto3==1.43.106"];

/// Arguments: the endpoint, the key's URI, `encrypt` or `decrypt`, the bytes and the associated data in base64.
const PROGRAM: &str = "
import base64, sys
import boto3
from tink import aead
from tink.integration import awskms
url, key, what, data, context = sys.argv[1:]
aead.register()
client = boto3.client('kms', endpoint_url=url, region_name='eu-west-2',
                      aws_access_key_id='x', aws_secret_access_key='x')
primitive = awskms.new_client(boto3_client=client).get_aead(key)
done = getattr(primitive, what)(base64.b64decode(data), base64.b64decode(context))
print(base64.b64encode(done).decode())
";

#[tokio::test]
async fn tink_opens_what_we_encrypt_under_kms_and_we_what_it_does() -> Result<()> {
    let test = "tink_opens_what_we_encrypt_under_kms_and_we_what_it_does";
    let root = env!("CARGO_TARGET_TMPDIR");
    let Some(emulator) = Emulator::start_or_skip(EmulatorKind::Moto, test, root).await? else {
        return Ok(());
    };
    let Some(python) = Python::find_or_skip(test, root, "tink-kms", PACKAGES).await? else {
        return Ok(());
    };
    assert_eq!(REGION, "eu-west-2");
    let made = emulator.call("TrentService.CreateKey", &json!({})).await?;
    let arn = made["KeyMetadata"]["Arn"].as_str().context("no ARN")?;
    let uri = format!("aws-kms://{arn}");
    let tink = async |what: &str, data: &[u8], context: &[u8]| -> Result<Vec<u8>> {
        let output = Command::new(python.program("python"))
            .args(["-c", PROGRAM, emulator.url(), &uri, what])
            .args([STANDARD.encode(data), STANDARD.encode(context)])
            .stdin(Stdio::null())
            .output()
            .await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{said}");
        Ok(STANDARD.decode(String::from_utf8(output.stdout)?.trim())?)
    };
    let key = KmsKeyEncryption::new(&at(emulator.url()).await?, &uri)?;
    for context in [&b""[..], b"billing\xff"] {
        let theirs = tink("encrypt", b"a keyset of Tink", context).await?;
        let opened = key.decrypt(&theirs, context).await?;
        assert_eq!(opened.expose(), b"a keyset of Tink");
        let ours = key.encrypt(&b"a keyset of ours".to_vec().into(), context).await?;
        assert_eq!(tink("decrypt", &ours, context).await?, b"a keyset of ours");
    }
    Ok(())
}
