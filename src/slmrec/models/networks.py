"""The trained networks there are."""

from slmrec.models.decoder import Decoder
from slmrec.models.pretrained import PretrainedDecoder
from slmrec.models.sasrec import SASRec

Network = SASRec | Decoder | PretrainedDecoder
