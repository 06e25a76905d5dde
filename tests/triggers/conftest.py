import pytest

from slmrec.storage.bucket import Bucket
from slmrec.storage.documents import Folder
from tests.storage.cloud import QUICK, client_of, serve_bucket


@pytest.fixture(params=["folder", "bucket"])
def documents(request, tmp_path):
    if request.param == "folder":
        yield Folder(tmp_path / "registry")
        return
    with serve_bucket("models") as (_, address), client_of(address) as client:
        yield Bucket("gs://models/registry", client=client, patience=QUICK)
