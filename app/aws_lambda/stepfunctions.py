"""AWS Step Functions as the functions reach it."""

from app.approvals.store.dynamodb.in_place import InPlace
from app.approvals.targets.signed_stepfunctions import SignedStepFunctionsTarget
from app.aws_json import STEP_FUNCTIONS, AwsJsonClient, find_credentials, find_region

TYPE_CHECKING = False
if TYPE_CHECKING:
    from app.approvals.store.dynamodb.running import Run

TARGET = "aws"  #: as `SIGNOFF_TARGET` has it: ids of approvals depend on it

#: Somebody looks at a page meanwhile: together three seconds, then the sweeper goes on.
CONNECT_S = 1.0
READ_S = 2.0


def stepfunctions_target(run: "Run | None" = None) -> SignedStepFunctionsTarget:
    """AWS Step Functions, by the standard variables; called in place, or where *run* says."""
    client = AwsJsonClient(
        STEP_FUNCTIONS,
        region=find_region(),
        credentials=find_credentials(),
        connect_s=CONNECT_S,
        read_s=READ_S,
    )
    return SignedStepFunctionsTarget(client, run or InPlace())
