"""Connectors: how a Task's resource is called.

A connector is one class with `call` (or an action of an AWS service, which needs none of its own)
and one line in `INTEGRATIONS`. It runs after the commit that scheduled the task, perhaps more than
once if the process dies in between. See docs/engine.md, "Adding a resource".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from app.engine.language.resource import Family, Pattern, Resource
from app.engine.payload import Payload
from app.engine.resources import jobs
from app.engine.resources.answers import (
    add_sender,
    name_starter,
    one_cluster,
    one_step,
    parse_body,
    refuse_failed_entries,
    refuse_failed_tasks,
    single_cancel,
    single_cluster,
    single_step,
)
from app.engine.resources.connector import Accepted, Connector, JobConnector, Surroundings
from app.engine.resources.endpoints import HttpConnector
from app.engine.resources.functions import LambdaConnector
from app.engine.resources.gateways import ApiGatewayConnector
from app.engine.resources.jobs import Job
from app.engine.resources.nested import ExecutionConnector, SdkExecutionsConnector
from app.engine.resources.services import (
    Finish,
    Prepare,
    ServiceConnector,
    ServiceNames,
    sdk_connector,
    sdk_knows,
)
from app.engine.steps.execution import Dispatch

Make = Callable[[Surroundings], Connector]


@dataclass(frozen=True, slots=True)
class Integration:
    """An optimized integration."""

    make: Make
    patterns: frozenset[Pattern]
    #: the parameters it has, as AWS documents them; others are left out. Empty: all are handed on
    members: frozenset[str] = frozenset()
    #: without which a definition is refused
    needs: tuple[str, ...] = ()


PLAIN = frozenset({Pattern.REQUEST_RESPONSE})
CALLBACK = PLAIN | {Pattern.WAIT_FOR_TASK_TOKEN}
JOB = PLAIN | {Pattern.SYNC}


def _action(
    names: ServiceNames,
    operation: str,
    patterns: frozenset[Pattern],
    members: str = "",
    *,
    needs: str = "",
    prepare: Prepare | None = None,
    finish: Finish | None = None,
    job: Job | None = None,
) -> Integration:
    """An action of a service that boto3 knows."""

    def make(surroundings: Surroundings) -> Connector:
        return ServiceConnector(
            names, surroundings, operation, prepare=prepare, finish=finish, job=job
        )

    return Integration(make, patterns, frozenset(members.split()), tuple(needs.split()))


_SQS = ServiceNames(
    "sqs",
    "SQS",
    "AmazonSQS",
    missing=("MissingParameter", "The request must contain the parameter {parameter}."),
)
_SNS = ServiceNames("sns", "SNS", "AmazonSNS")
_DYNAMODB = ServiceNames("dynamodb", "DynamoDB", "AmazonDynamoDBv2", "AmazonDynamoDBException")
_EVENTS = ServiceNames("events", "EventBridge", "AmazonEventBridge")
_ECS = ServiceNames("ecs", "ECS", "AmazonECS")
_BATCH = ServiceNames("batch", "Batch", "AWSBatch")
_GLUE = ServiceNames("glue", "Glue", "AWSGlue")
_ATHENA = ServiceNames("athena", "Athena", "AmazonAthena")
_CODEBUILD = ServiceNames("codebuild", "CodeBuild", "AWSCodeBuild")
_SAGEMAKER = ServiceNames("sagemaker", "SageMaker", "AmazonSageMaker")
_EMR = ServiceNames("emr", "ElasticMapReduce", "AmazonElasticMapReduce")
_EMR_CONTAINERS = ServiceNames("emr-containers", "EMRContainers", "AmazonEMRContainers")
_EMR_SERVERLESS = ServiceNames("emr-serverless", "EmrServerless", "EmrServerless")
_DATABREW = ServiceNames("databrew", "DataBrew", "AWSGlueDataBrew")
_MEDIACONVERT = ServiceNames("mediaconvert", "MediaConvert", "AWSMediaConvert")
_BEDROCK = ServiceNames("bedrock", "Bedrock", "AmazonBedrock")
_BEDROCK_RUNTIME = ServiceNames("bedrock-runtime", "BedrockRuntime", "AmazonBedrockRuntime")

_ITEM = "TableName ReturnConsumedCapacity ExpressionAttributeNames "
_WRITE = (
    _ITEM + "ConditionalOperator ConditionExpression Expected ExpressionAttributeValues "
    "ReturnItemCollectionMetrics ReturnValues "
)
_TASK = (
    "Cluster Group LaunchType NetworkConfiguration Overrides PlacementConstraints "
    "PlacementStrategy PlatformVersion PropagateTags TaskDefinition EnableExecuteCommand "
    "CapacityProviderStrategy Count EnableECSManagedTags ReferenceId StartedBy Tags "
    "VolumeConfigurations ClientToken"
)

INTEGRATIONS: Mapping[tuple[str, str], Integration] = {
    ("lambda", "invoke"): Integration(LambdaConnector, CALLBACK, needs=("FunctionName",)),
    ("http", "invoke"): Integration(HttpConnector, PLAIN, needs=("ApiEndpoint", "Method")),
    ("apigateway", "invoke"): Integration(
        ApiGatewayConnector, CALLBACK, needs=("ApiEndpoint", "Method")
    ),
    ("states", "startExecution"): Integration(
        ExecutionConnector,
        frozenset(Pattern),
        frozenset({"StateMachineArn", "Input", "Name", "TraceHeader"}),
        needs=("StateMachineArn",),
    ),
    ("sqs", "sendMessage"): _action(
        _SQS,
        "SendMessage",
        CALLBACK,
        "QueueUrl MessageBody DelaySeconds MessageAttributes MessageDeduplicationId MessageGroupId",
        needs="QueueUrl MessageBody",
    ),
    ("sns", "publish"): _action(
        _SNS,
        "Publish",
        CALLBACK,
        "TopicArn TargetArn PhoneNumber Message MessageAttributes MessageStructure Subject "
        "MessageDeduplicationId MessageGroupId",
        needs="Message",
    ),
    ("events", "putEvents"): _action(
        _EVENTS,
        "PutEvents",
        CALLBACK,
        needs="Entries",
        prepare=add_sender,
        finish=refuse_failed_entries,
    ),
    ("dynamodb", "getItem"): _action(
        _DYNAMODB,
        "GetItem",
        PLAIN,
        _ITEM + "Key AttributesToGet ConsistentRead ProjectionExpression",
        needs="TableName Key",
    ),
    ("dynamodb", "putItem"): _action(
        _DYNAMODB, "PutItem", PLAIN, _WRITE + "Item", needs="TableName Item"
    ),
    ("dynamodb", "updateItem"): _action(
        _DYNAMODB,
        "UpdateItem",
        PLAIN,
        _WRITE + "Key AttributeUpdates UpdateExpression",
        needs="TableName Key",
    ),
    ("dynamodb", "deleteItem"): _action(
        _DYNAMODB, "DeleteItem", PLAIN, _WRITE + "Key", needs="TableName Key"
    ),
    ("ecs", "runTask"): _action(
        _ECS,
        "RunTask",
        CALLBACK | JOB,
        _TASK,
        needs="TaskDefinition",
        prepare=name_starter,
        finish=refuse_failed_tasks,
        job=jobs.ECS_TASK,
    ),
    ("batch", "submitJob"): _action(
        _BATCH,
        "SubmitJob",
        CALLBACK | JOB,
        needs="JobName JobQueue JobDefinition",
        job=jobs.BATCH_JOB,
    ),
    ("glue", "startJobRun"): _action(_GLUE, "StartJobRun", JOB, needs="JobName", job=jobs.GLUE_RUN),
    ("codebuild", "startBuild"): _action(
        _CODEBUILD, "StartBuild", JOB, needs="ProjectName", job=jobs.CODE_BUILD
    ),
    ("codebuild", "stopBuild"): _action(_CODEBUILD, "StopBuild", PLAIN),
    ("codebuild", "batchGetReports"): _action(_CODEBUILD, "BatchGetReports", PLAIN),
    ("athena", "startQueryExecution"): _action(
        _ATHENA, "StartQueryExecution", JOB, needs="QueryString", job=jobs.ATHENA_QUERY
    ),
    ("athena", "stopQueryExecution"): _action(_ATHENA, "StopQueryExecution", PLAIN),
    ("athena", "getQueryExecution"): _action(_ATHENA, "GetQueryExecution", PLAIN),
    ("athena", "getQueryResults"): _action(_ATHENA, "GetQueryResults", PLAIN),
    ("sagemaker", "createTrainingJob"): _action(
        _SAGEMAKER, "CreateTrainingJob", JOB, job=jobs.SAGEMAKER_TRAINING
    ),
    ("sagemaker", "createTransformJob"): _action(
        _SAGEMAKER, "CreateTransformJob", JOB, job=jobs.SAGEMAKER_TRANSFORM
    ),
    ("sagemaker", "createProcessingJob"): _action(
        _SAGEMAKER, "CreateProcessingJob", JOB, job=jobs.SAGEMAKER_PROCESSING
    ),
    ("sagemaker", "createHyperParameterTuningJob"): _action(
        _SAGEMAKER, "CreateHyperParameterTuningJob", JOB, job=jobs.SAGEMAKER_TUNING
    ),
    ("sagemaker", "createLabelingJob"): _action(
        _SAGEMAKER, "CreateLabelingJob", JOB, job=jobs.SAGEMAKER_LABELING
    ),
    ("sagemaker", "createModel"): _action(_SAGEMAKER, "CreateModel", PLAIN),
    ("sagemaker", "createEndpointConfig"): _action(_SAGEMAKER, "CreateEndpointConfig", PLAIN),
    ("sagemaker", "createEndpoint"): _action(_SAGEMAKER, "CreateEndpoint", PLAIN),
    ("sagemaker", "updateEndpoint"): _action(_SAGEMAKER, "UpdateEndpoint", PLAIN),
    ("elasticmapreduce", "createCluster"): _action(
        _EMR, "RunJobFlow", JOB, finish=one_cluster, job=jobs.EMR_CLUSTER
    ),
    ("elasticmapreduce", "addStep"): _action(
        _EMR, "AddJobFlowSteps", JOB, prepare=single_step, finish=one_step, job=jobs.EMR_STEP
    ),
    ("elasticmapreduce", "cancelStep"): _action(_EMR, "CancelSteps", PLAIN, prepare=single_cancel),
    ("elasticmapreduce", "terminateCluster"): _action(
        _EMR, "TerminateJobFlows", PLAIN, prepare=single_cluster
    ),
    ("emr-containers", "startJobRun"): _action(
        _EMR_CONTAINERS, "StartJobRun", JOB, job=jobs.EMR_CONTAINERS_RUN
    ),
    ("emr-serverless", "startJobRun"): _action(
        _EMR_SERVERLESS, "StartJobRun", JOB, job=jobs.EMR_SERVERLESS_RUN
    ),
    ("databrew", "startJobRun"): _action(_DATABREW, "StartJobRun", JOB, job=jobs.DATABREW_RUN),
    ("mediaconvert", "createJob"): _action(
        _MEDIACONVERT, "CreateJob", JOB, job=jobs.MEDIA_CONVERT_JOB
    ),
    ("bedrock", "createModelCustomizationJob"): _action(
        _BEDROCK, "CreateModelCustomizationJob", JOB, job=jobs.BEDROCK_CUSTOMIZATION
    ),
    ("bedrock", "invokeModel"): _action(_BEDROCK_RUNTIME, "InvokeModel", PLAIN, finish=parse_body),
}

SDK = "aws-sdk:"


def supports(resource: Resource) -> bool:
    """Whether a task can have this resource."""
    if resource.family is Family.ACTIVITY:
        return True  # nobody is called: workers come for its tasks
    if resource.service.startswith(SDK):
        known = sdk_knows(resource.service.removeprefix(SDK), resource.action)
        return known and resource.pattern in CALLBACK
    integration = INTEGRATIONS.get((resource.service, resource.action))
    return integration is not None and resource.pattern in integration.patterns


def needed(resource: Resource) -> tuple[str, ...]:
    """The members that a definition must give the resource."""
    if resource.family is not Family.SERVICE:
        return ()
    integration = INTEGRATIONS.get((resource.service, resource.action))
    return () if integration is None else integration.needs


def accepted(resource: Resource, arguments: Payload) -> Payload:
    """The arguments without the members that the integration does not have."""
    integration = INTEGRATIONS.get((resource.service, resource.action))
    if integration is None or not integration.members or resource.family is not Family.SERVICE:
        return arguments
    given = arguments.value
    if not isinstance(given, dict) or given.keys() <= integration.members:
        return arguments
    return Payload({name: value for name, value in given.items() if name in integration.members})


class Resources:
    """All connectors of an engine, each made when it is first called."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._made: dict[tuple[str, str], Connector] = {}

    async def call(self, dispatch: Dispatch) -> Payload | Accepted:
        """The resource's answer.

        Raises:
            StateFailure: it refused, or failed.
        """
        return await self._connector(dispatch.resource).call(dispatch)

    async def poll(self, dispatch: Dispatch) -> Payload | None:
        """The result of the dispatch's job; None while it runs, or when nobody can tell.

        Raises:
            StateFailure: it failed.
        """
        return await self._jobs(dispatch.resource).poll(dispatch)

    async def cancel(self, dispatch: Dispatch) -> None:
        """Stop the dispatch's job, if it still runs.

        Raises:
            StateFailure: it cannot be stopped.
        """
        await self._jobs(dispatch.resource).cancel(dispatch)

    def _jobs(self, resource: Resource) -> JobConnector:
        # Only what a connector accepted as a job is asked for or stopped.
        return cast(JobConnector, self._connector(resource))

    def _connector(self, resource: Resource) -> Connector:
        key = (resource.service, resource.action)
        connector = self._made.get(key)
        if connector is None:
            connector = self._made[key] = _make(resource, self._surroundings)
        return connector


def _make(resource: Resource, surroundings: Surroundings) -> Connector:
    if not resource.service.startswith(SDK):
        return INTEGRATIONS[resource.service, resource.action].make(surroundings)
    service = resource.service.removeprefix(SDK)
    if service == "sfn":
        return SdkExecutionsConnector(resource.action, surroundings)
    return sdk_connector(service, resource.action, surroundings)
