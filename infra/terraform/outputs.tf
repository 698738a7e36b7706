output "table_name" {
  value = aws_dynamodb_table.this.name
}

output "bucket_name" {
  value = aws_s3_bucket.this.id
}

output "task_queue_url" {
  value = aws_sqs_queue.tasks.url
}

output "python_queue_url" {
  value = aws_sqs_queue.python.url
}

output "scheduler_queue_url" {
  value = aws_sqs_queue.looks.url
}

output "api_url" {
  value = aws_lambda_function_url.api.function_url
}

output "token_api_url" {
  value = one(aws_apigatewayv2_api.tokens[*].api_endpoint)
}
