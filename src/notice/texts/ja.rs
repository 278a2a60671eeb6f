//! Japanese: です・ます, and the words of the field. Slack shows `*bold*` only between spaces or punctuation.

use super::{Ending, Say, Told};
use crate::domain::decision::Reason;

pub(super) fn say(say: Say) -> &'static str {
    match say {
        Say::RolledBack => "{service} を {target} に戻しました",
        Say::StepMoved => "{service}: {percent} を {target} に戻しました",
        Say::TrialMoved => "{service}: 試行中、{percent} を {target} へ",
        Say::UnderWay => "{service} を {target} に戻しています",
        Say::NoCheckAhead => "{service}: ロールバックの再確認ができません",
        Say::StepOnHold => "{service}: ロールバックを {percent} で保留",
        Say::HeldUp => "{service}: ロールバックが止まっています",
        Say::OutOfSight => "{service}: ロールバックを追跡できません",
        Say::RightsLost => "{service}: ロールバックできません",
        Say::Pinned => "{service}: {revision} に流れていません",
        Say::DeniedTitle => "{service}: Runback の権限が不足しています",
        Say::UnknownService => "{service}: Cloud Run にありません",

        Say::Failed => {
            "`{culprit}` で *リクエストの {percent} が失敗* しています (直近 {window}の {requests} 件中 {bad} 件、上限 {limit})。"
        }
        Say::Slow => {
            "`{culprit}` で *リクエストの {percent} が {slow} 超* です (直近 {window}の {requests} 件中 {bad} 件、上限 {limit})。"
        }
        Say::WithWarning => {
            "`{culprit}` で *リクエストの {percent} が失敗* しています (直近 {window}の {requests} 件中 {bad} 件、警告 {warning}、ロールバック {limit})。"
        }
        Say::TargetWas => "`{target}` は {percent} でした。",
        Say::Trusted => {
            "Cloud Monitoring を読めなかったため、アラートを信用しました。`{culprit}` の失敗は確認できていません。"
        }
        Say::Vouched => {
            "アラートが `{culprit}` の異常を示し、アラートポリシーがロールバックを指定しています。"
        }
        Say::Unproven => "`{target}` が正常だったという履歴はありません。",
        Say::TagsStay => "タグ宛てのリクエストは割合に従わず、`{culprit}` に届き続けます。",
        Say::Figures => "`{revision}`: {percent} が異常 ({requests} 件中 {bad} 件、上限 {limit})。",
        Say::NoRequests => "`{revision}`: その後のリクエストはありません。",
        Say::MonitoringUnread => "Cloud Monitoring を読めませんでした。",

        Say::AllMoved => "*{time}* に全トラフィックを切り替えました (アラートから {after})。",
        Say::AllMovedOnWatch => "*{time}* に全トラフィックを切り替えました (デプロイの確認から {after})。",
        Say::PartMoved => "*{time}* にトラフィックの {percent} を切り替えました (アラートから {after})。",
        Say::MovedLate => "*{time}* に `{culprit}` のトラフィックの {percent} を切り替えました。",
        Say::Late => "Runback の処理が遅れたため、通知が遅くなりました。",
        Say::StillFails => "*サービスのヘルスチェックはまだ失敗しています:* {detail}",
        Say::HealthCheck => "ヘルスチェック: {detail}",
        Say::Accepted => {
            "Cloud Run は *{time}* に `{target}` への切り替えを受け付けましたが、まだ反映されていません。"
        }
        Say::CloudRunSays => "Cloud Run の応答: {detail}",
        Say::CloudRunSilent => "Cloud Run は理由を示していません。",
        Say::Took => "アラートから切り替えまで {first}、回復の確認まで {proven}でした。",
        Say::ProvenAfter => "切り替えから回復の確認まで {proven}でした。",
        Say::ReachedByTag => "割合では動かないタグ {tags} 経由です。",
        Say::ReachedWithoutTag => {
            "タグはありません。長いリクエストか、接続を保っている呼び出し元を確認してください。"
        }
        Say::Traffic => "トラフィック",
        Say::PinnedSince => {
            "`{revision}` は準備完了ですが、トラフィックは流れていません。Runback が *{time}* に `{culprit}` をロールバックし、サービスを `{target}` に固定したためです。"
        }
        Say::PinnedBanned => "*ロールバックしたものと同じイメージ* のため、`runback release` は拒否します。",
        Say::Began => "ロールバックの開始: *{time}* ({reason})。経過はスレッドにあります。",
        Say::DeniedStory => {
            "Cloud Run が Runback を拒否しました。{missing} の権限がありません。何も変更していません。"
        }
        Say::RightsStory => {
            "Runback に {missing} の権限がなく、ロールバックは拒否されます。サービスの IAM ポリシーが書き換えられています。"
        }
        Say::StepOnHoldStory => {
            "サービスが保留 (hold) されているため、次の段階に進みません。*トラフィックは分かれています* (`{culprit}` の {percent} が `{target}`)。"
        }
        Say::HeldUpStory => {
            "ロールバックの途中で Google が Runback を拒否しました。{missing} の権限がありません。トラフィックはそのままです。"
        }
        Say::OutOfSightStory => {
            "ロールバックの続きまたは確認ができず、サービスはそのままにします。理由: {detail}"
        }
        Say::NoCheckStory => {
            "`{target}` へのロールバックは完了しましたが、タスクキューが再確認のタスクを拒否しました ({detail})。"
        }
        Say::UnknownStory => "ポリシーの対象ですが、Cloud Run に見つかりません。",

        Say::Now => "*いま:*",
        Say::Later => "*あとで:*",
        Say::NowCheck => "対応は不要です。*{time}* に再確認し、ここに投稿します。",
        Say::NowAlone => "エラーが止まることを確認してください。タスクキューがないため、再確認は行いません。",
        Say::NowTrial => {
            "対応は不要です。`{culprit}` は以前正常だったため、*{time}* に両方を比べ、残りを切り替えるか元に戻します。"
        }
        Say::NowStep => "対応は不要です。`{target}` のほうが良ければ、*{time}* に {percent} まで進めます。",
        Say::NowWatched => "対応は不要です。反映を見守り、5 分以内にここに投稿します。",
        Say::NowTag => "タグを付けた人に確認してください。利用者がその経路で来るなら、タグの移動も必要です。",
        Say::NowTry => "サービスを直接確認してください。Runback の再確認はありません。",
        Say::DecidesAt => "*{time}* に Runback が判断します。",
        Say::LooksAgain => "*{time}* に Runback が再確認します。",
        Say::LaterPinned => "解除するまで新しいデプロイにはトラフィックが流れません: `{release}`",
        Say::LaterResume => "`{resume}` で Runback を再開できます。",
        Say::LaterFollows => "サービスは再び LATEST に従い、次のデプロイにトラフィックが流れます。",
        Say::NowGrant => "権限を付与してください。",
        Say::NowTerraform => {
            "権限を付与してください。IAM ポリシーを Terraform で管理している場合は、そこにも Runback を追加してください。"
        }
        Say::NowQueue => {
            "エラーが止まることを確認し、キューと Runback のロール (`roles/cloudtasks.enqueuer`、`roles/cloudtasks.viewer`) を確認してください。"
        }
        Say::NowLook => {
            "トラフィックの状態を確認してください。Runback はこれ以上進めず、結果も報告しません。"
        }
        Say::NowUnknown => "ポリシーの名前、プロジェクト、リージョンを直すか、ポリシーから外してください。",
        Say::NowHeld => "完了するか判断してください。保留が終わると続きを進めます。",
        Say::NowPinned => "確認し、問題がなければ `{release}` を実行してください。",
        Say::NowPinnedBanned => "修正したリビジョンをデプロイしてください。",
        Say::NowAgain => "3 分後に Runback が再確認します。",
        Say::NowWaits => "対応は不要です。続きを進め、ここに投稿します。",
        Say::NowGrantQueue => {
            "Runback にキューの `roles/cloudtasks.enqueuer` と `roles/cloudtasks.viewer` を付与してください。"
        }
        Say::HeldUpPatience => "約 1 時間再試行します。その後、ロールバックはそのままになります。",
        Say::DeniedPatience => "アラートは 1 時間再送されます。その後は扱いません。",

        Say::GoBack => "*`{target}` に戻す場合* ({requests} 件中 {percent} が失敗):",
        Say::GoBackUnproven => "*`{target}` に戻す場合* (正常だった履歴なし):",
        Say::GoBackAny => "*最後に正常だったリビジョンに戻す場合:*",
        Say::PutBack => "*トラフィックを元に戻す場合:*",
        Say::Finish => "*ロールバックを完了する場合:*",
        Say::Status => "*現在の状態を見る:*",
        Say::Gcloud => "gcloud では:",
        Say::GitRevert => {
            "git でもリバートしてください。新しいデプロイには解除するまでトラフィックが流れません:"
        }
        Say::MoveTag => "タグを移動する場合:",
        Say::TryByTag => "*専用 URL で確認する場合:*",
        Say::GrantRun => "*権限を付与する:*",
        Say::GrantAccount => "*サービスの実行アカウントに権限を付与する:*",
        Say::GrantImages => "*イメージのリポジトリに権限を付与する:*",
        Say::GrantUnknown => "*Runback のロールを確認する* (`roles/run.developer` で足ります):",
        Say::MonitoringRole => "Runback に Cloud Monitoring の権限がありません: {missing}",

        Say::Logs => "エラーログ",
        Say::Revisions => "リビジョン",
        Say::Diff => "差分 {from}…{to}",
        Say::Alert => "アラート",
        Say::ErrorsPerMinute => "エラー/分 {bars} 最大 {peak}、上限 {limit}",
        Say::SlowPerMinute => "遅延/分 {bars} 最大 {peak}、上限 {limit}",
        Say::ChecksPassed => "{all} 件中 {passed} 件のチェックに合格",
        Say::Watched => "アラートなし: デプロイを監視中",

        Say::SomePermission => "必要な",
        Say::UnderASecond => "1 秒未満",
        Say::Seconds => "{number} 秒",
        Say::Minutes => "{number} 分",
        Say::Hours => "{number} 時間",
        Say::Days => "{number} 日",
    }
}

/// What every revision depends on.
const DEPENDENCIES: &str = "すべてのリビジョンが依存するもの (データベース、他の API、シークレット、ネットワーク) を確認してください。";

/// Where traffic is split and Runback goes no further.
const DECIDE: &str = "ロールバックを完了するか元に戻すか、判断してください。";

pub(super) fn ending(ending: Ending) -> Told {
    let (title, story, now) = match ending {
        Ending::Recovered => (
            "{service} は回復しました",
            "`{culprit}` から切り替えた後、`{target}` は正常です。",
            "対応は不要です。`{culprit}` を修正してデプロイしてください。",
        ),
        Ending::NotHelped => (
            "{service}: ロールバックの効果がありません",
            "*`{target}` も失敗しています。* トラフィックはそのままです。",
            DEPENDENCIES,
        ),
        Ending::Restoring => (
            "{service}: 効果がないため元に戻しています",
            "*`{target}` は `{culprit}` より良くない* ため、元のトラフィック配分に戻しています。",
            DEPENDENCIES,
        ),
        Ending::Restored => (
            "{service}: 効果がないため元に戻しました",
            "*`{target}` は `{culprit}` より良くない* ため、元のトラフィック配分に戻しました。`{culprit}` は再びロールバックしません。",
            DEPENDENCIES,
        ),
        Ending::Undone => (
            "{service}: ロールバックが取り消されました",
            "`runback undo` により、`{culprit}` にトラフィックが戻りました。",
            "対応は不要です。",
        ),
        Ending::StillReached | Ending::NeverLeft => (
            "{service}: {culprit} に届き続けています",
            "*`{culprit}` にまだリクエストが届き、失敗しています。*",
            "",
        ),
        Ending::Unjudged => (
            "{service}: ロールバックの効果が不明です",
            "リクエストが少なく、`{target}` が正常か判断できません。",
            "サービスを直接確認してください。Runback の再確認はありません。",
        ),
        Ending::Halted => (
            "{service}: ロールバックを {percent} で停止",
            "*`{target}` は `{culprit}` より良くない* ため、{percent} で停止しました。トラフィックは分かれたままです。",
            "両方が依存するものを確認し、判断してください。",
        ),
        Ending::Stopped => (
            "{service}: ロールバックを {percent} で停止",
            "{percent} で停止しました。`{culprit}` のトラフィックは `{target}` と分かれたままです。",
            DECIDE,
        ),
        Ending::Cleared => (
            "{service}: デプロイは原因ではありません",
            "*`{target}` は同じ時間帯の `{culprit}` より良くない* ため、デプロイは原因ではありません。元のトラフィック配分に戻しました。",
            DEPENDENCIES,
        ),
        Ending::Undecided => (
            "{service}: 試行 {percent} で判断できません",
            "試行では `{culprit}` が原因か判断できません。*トラフィックは分かれたまま* です ({percent})。",
            DECIDE,
        ),
        Ending::Forbidden => (
            "{service}: ロールバックを {percent} で停止",
            "ポリシーが observe に変わったため停止しました。*トラフィックは分かれたまま* です ({percent})。",
            DECIDE,
        ),
        Ending::Overruled => (
            "{service}: 誰かがトラフィックを変更しました",
            "`{culprit}` から `{target}` へのロールバック後に、誰かがトラフィックを変更しました。Runback は何もしません。",
            "対応は不要です。",
        ),
        Ending::NotArrived => (
            "{service}: ロールバックが反映されません",
            "*Cloud Run は `{target}` への切り替えを受け付けましたが、反映されていません。*",
            "Cloud Run でサービスを確認してください。`{target}` が起動できない場合は、別のリビジョンを選んでください。",
        ),
        Ending::BackNotArrived => (
            "{service}: 元の配分が反映されません",
            "*Cloud Run は元のトラフィック配分を受け付けましたが、反映されていません。*",
            "Cloud Run でサービスを確認してください。",
        ),
        Ending::StepRefused => (
            "{service}: ロールバックを {percent} で停止",
            "*Cloud Run が次の段階を拒否しました。* トラフィックは分かれたままです ({percent})。",
            "Cloud Run の応答を確認し、判断してください。",
        ),
        Ending::BackRefused => (
            "{service}: 効果がなく、元にも戻せません",
            "*`{target}` も失敗し、元の配分に戻すことも Cloud Run に拒否されました。* トラフィックはそのままです。",
            DEPENDENCIES,
        ),
    };
    Told { title, story, now }
}

pub(super) fn untouched(reason: Reason) -> Told {
    let (title, story, now) = match reason {
        Reason::TestNotification => (
            "Runback: 接続を確認しました",
            "Monitoring から Runback、Runback から Slack まで届いています。",
            "対応は不要です。",
        ),
        Reason::UnresolvedService => (
            "アラートに Cloud Run サービス名がありません",
            "どのサービスのアラートか判断できません。何も変更していません。",
            "アラートを確認し、ポリシーにラベル `runback_project`、`runback_location`、`runback_service` を設定してください。",
        ),
        Reason::UnreadableRecord => (
            "{service}: 記録を読めず、ロールバックしていません",
            "アノテーション `runback.dev/state` の記録を読めません。何も変更していません。",
            "新しい Runback が書いた場合はその版を使い、そうでなければアノテーションを修正または削除してください。",
        ),
        Reason::DeployInProgress => (
            "{service}: デプロイが終わりません",
            "デプロイが数分続いています。Runback は干渉せず、何も変更していません。",
            "デプロイを確認してください。",
        ),
        Reason::AmbiguousCulprit => (
            "{service}: 原因のリビジョンが不明です",
            "複数のリビジョンが稼働し、どれが失敗しているか判断できません。何も変更していません。",
            "ログで比べてください。アラートを `revision_name` で分けると特定できます。",
        ),
        Reason::DependencyOutage => (
            "{service}: デプロイは原因ではありません",
            "戻しても直りません。何も変更していません。",
            "依存するもの (データベース、他の API、シークレット、ネットワーク) を確認してください。",
        ),
        Reason::NoData => (
            "{service}: 判断できるリクエストがありません",
            "Cloud Monitoring にリクエストがありません。何も変更していません。",
            "リクエストがサービスに届いているか (DNS、ロードバランサ、Ingress、IAM) 確認してください。",
        ),
        Reason::Warning => (
            "{service}: エラー {percent}、まだ戻していません",
            "何も変更していません。",
            "エラーを確認してください。",
        ),
        Reason::ExplainOnly => (
            "{service}: 説明のみのアラートです",
            "リクエストでは確認できないか、ポリシーが説明のみを求めるアラートです。何も変更していません。",
            "アラートを確認してください。",
        ),
        Reason::NotDeployRelated => (
            "{service}: 失敗、デプロイが原因ではありません",
            "原因となる最近のデプロイはありません。何も変更していません。",
            "負荷、データ、設定、依存先など別の原因を確認してください。",
        ),
        Reason::Cooldown => (
            "{service}: 再び失敗、戻していません",
            "前回のロールバックから間もないため、何も変更していません。",
            "デプロイが原因かどうかを確認してください。",
        ),
        Reason::BudgetExhausted => (
            "{service}: 失敗、本日のロールバックは上限です",
            "自動ロールバックの 1 日の上限に達しました。何も変更していません。",
            "デプロイを止め、失敗が続く理由を調べてください。",
        ),
        Reason::NoCandidate => (
            "{service}: 失敗、戻せるリビジョンがありません",
            "正常とわかっている古いリビジョンがありません。何も変更していません。",
            "修正をデプロイするか、信頼できるリビジョンを選んでください。",
        ),
        Reason::SchemaFence => (
            "{service}: スキーマが異なり、戻していません",
            "`{culprit}` と `{target}` は必要なデータベーススキーマが異なります。何も変更していません。",
            "先にデータベースを確認してください (`alembic current`)。データが失われるダウングレードはしないでください。",
        ),
        Reason::ObserveMode => (
            "{service} を {target} に戻すべき状態です",
            "このサービスは observe モードです。何も変更していません。",
            "戻すかどうか判断してください。",
        ),
        Reason::OnHold => (
            "{service} は保留中のため戻していません",
            "このサービスは保留 (hold) されています。何も変更していません。",
            "戻すかどうか判断してください。",
        ),
        Reason::PermissionDenied => (
            "{service}: Runback の権限が不足しています",
            "Cloud Run が 1 時間 Runback を拒否しました。何も変更していません。",
            "権限を付与してください。このアラートの処理は終了しました。",
        ),
        Reason::WriteRefused => (
            "{service}: 切り替えを拒否されました",
            "Cloud Run が `{target}` への切り替えを拒否しました。何も変更していません。",
            "Cloud Run の応答を確認し、別のリビジョンを選んでください。",
        ),
        Reason::Confirmed | Reason::Critical | Reason::Unconfirmed => (
            "{service}: ロールバックできませんでした",
            "ロールバックは実行されませんでした。何も変更していません。",
            "サービスを確認してください。",
        ),
        Reason::Healthy | Reason::Recovered | Reason::Closed => (
            "{service} は正常に戻りました",
            "再確認の結果、失敗は見られません。何も変更していません。",
            "対応は不要です。",
        ),
        Reason::Inconclusive => (
            "{service}: 失敗しているか判断できません",
            "リクエストが少なく判断できません。再確認は行いません。何も変更していません。",
            "サービスを直接確認してください。",
        ),
        // These are only logged, as a rule.
        Reason::NotAnIncident
        | Reason::UnknownState
        | Reason::NotGuarded
        | Reason::AlreadyHandled
        | Reason::CulpritNotServing
        | Reason::Watching
        | Reason::NothingToWatch => (
            "{service}: 何もしていません",
            "対応する理由がありませんでした。何も変更していません。",
            "対応は不要です。",
        ),
    };
    Told { title, story, now }
}
