package awsapi

import (
	"github.com/google/uuid"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

func (s *Server) createModel(c *call, in *awsmodel.CreateModelInput) (any, error) {
	m, err := s.newModel(c, in)
	if err != nil {
		return nil, err
	}
	if err := s.Store.CreateModel(c.ctx(), m); err != nil {
		return nil, model.explain(c, *in.ModelName, err)
	}
	arn := model.arn(c, in.ModelName)
	return awsmodel.CreateModelOutput{ModelArn: &arn}, nil
}

// newModel reads what a model instance is to run.
func (s *Server) newModel(c *call, in *awsmodel.CreateModelInput) (m deferd.Model, err error) {
	container, err := soleContainer(in)
	if err != nil {
		return m, err
	}
	data, err := s.modelData(container)
	if err != nil {
		return m, err
	}
	tags, err := takeTags(&in.Tags)
	if err != nil {
		return m, err
	}
	request, err := document(in)
	if err != nil {
		return m, err
	}
	return deferd.Model{
		ID:      deferd.ModelID(uuid.NewString()),
		Account: c.principal.Account,
		Name:    deferd.ModelName(*in.ModelName),
		Created: s.Store.Now(),
		Image:   *container.Image,
		Data:    data,
		Env:     container.Environment,
		RoleARN: value(in.ExecutionRoleArn),
		Tags:    tags,
		Request: request,
	}, nil
}

// soleContainer returns the one container of a model, which must be of a form
// that can be served.
func soleContainer(in *awsmodel.CreateModelInput) (*awsmodel.ContainerDefinition, error) {
	container := in.PrimaryContainer
	switch {
	case container != nil && len(in.Containers) > 0:
		return nil, deferd.Errorf(deferd.Invalid, "PrimaryContainer and Containers cannot be given together.")
	case len(in.Containers) > 1:
		return nil, deferd.Errorf(deferd.Invalid, "Models of several containers are not supported: give one.")
	case len(in.Containers) == 1:
		container = &in.Containers[0]
	case container == nil:
		return nil, deferd.Errorf(deferd.Invalid, "A model needs a PrimaryContainer.")
	}
	switch {
	case value(container.Mode) == "MultiModel":
		return nil, deferd.Errorf(deferd.Invalid, "Mode MultiModel is not supported: a container here serves one model.")
	case container.ModelPackageName != nil:
		return nil, deferd.Errorf(deferd.Invalid, "ModelPackageName is not supported: give an Image.")
	case container.Image == nil:
		return nil, deferd.Errorf(deferd.Invalid, "A container needs an Image.")
	case len(container.AdditionalModelDataSources) > 0:
		return nil, deferd.Errorf(deferd.Invalid, "AdditionalModelDataSources are not supported: give one ModelDataSource.")
	case value(in.EnableNetworkIsolation):
		return nil, deferd.Errorf(deferd.Invalid, "EnableNetworkIsolation is not supported: containers here have a network.")
	}
	return container, nil
}

// modelData reads where a container's model data is; zero for none.
func (s *Server) modelData(container *awsmodel.ContainerDefinition) (data deferd.ModelData, err error) {
	var source *awsmodel.S3ModelDataSource
	if container.ModelDataSource != nil {
		source = container.ModelDataSource.S3DataSource
	}
	switch {
	case source != nil && container.ModelDataUrl != nil:
		return data, deferd.Errorf(deferd.Invalid, "ModelDataUrl and ModelDataSource cannot be given together.")
	case source != nil && (source.ManifestS3Uri != nil || source.ManifestEtag != nil):
		return data, deferd.Errorf(deferd.Invalid, "ManifestS3Uri and ManifestEtag are not supported: everything below S3Uri is loaded.")
	case source != nil:
		data.Location, err = s.S3.locate(*source.S3Uri)
		data.Prefix = *source.S3DataType == "S3Prefix"
		data.Gzip = *source.CompressionType == "Gzip"
	case container.ModelDataUrl != nil:
		data.Location, err = s.S3.locate(*container.ModelDataUrl)
		data.Gzip = true
	}
	return data, err
}

func (s *Server) describeModel(c *call, in *awsmodel.DescribeModelInput) (any, error) {
	m, err := s.Store.Model(c.ctx(), c.principal.Account, deferd.ModelName(*in.ModelName))
	if err != nil {
		return nil, model.explain(c, *in.ModelName, err)
	}
	var out awsmodel.DescribeModelOutput
	if err := awsmodel.Decode(m.Request, &out); err != nil {
		return nil, err
	}
	arn := model.arn(c, in.ModelName)
	out.ModelArn = &arn
	out.CreationTime = awsmodel.Time(m.Created)
	if out.EnableNetworkIsolation == nil {
		out.EnableNetworkIsolation = new(false)
	}
	return out, nil
}

func (s *Server) deleteModel(c *call, in *awsmodel.DeleteModelInput) (any, error) {
	err := s.Store.DeleteModel(c.ctx(), c.principal.Account, deferd.ModelName(*in.ModelName))
	return nil, model.explain(c, *in.ModelName, err)
}

func (s *Server) listModels(c *call, in *awsmodel.ListModelsInput) (any, error) {
	page, err := s.Store.Models(c.ctx(), deferd.ListQuery{
		Account:       c.principal.Account,
		NameContains:  value(in.NameContains),
		CreatedBefore: value(in.CreationTimeBefore).Time,
		CreatedAfter:  value(in.CreationTimeAfter).Time,
		SortBy:        order(in.SortBy),
		Ascending:     value(in.SortOrder) == "Ascending",
		Max:           maxResults(in.MaxResults),
		Token:         value(in.NextToken),
	})
	if err != nil {
		return nil, err
	}
	out := awsmodel.ListModelsOutput{Models: []awsmodel.ModelSummary{}, NextToken: nextToken(page.Token)}
	for _, m := range page.Items {
		name := string(m.Name)
		arn := model.arn(c, &name)
		out.Models = append(out.Models, awsmodel.ModelSummary{ModelName: &name, ModelArn: &arn, CreationTime: awsmodel.Time(m.Created)})
	}
	return out, nil
}

// order reads SortBy; AWS's default is the time of creation.
func order(sortBy *string) deferd.ListOrder {
	switch value(sortBy) {
	case "Name":
		return deferd.ByName
	case "Status":
		return deferd.ByStatus
	}
	return deferd.ByCreation
}

// maxResults reads MaxResults; AWS's default is 10.
func maxResults(n *int32) int {
	if n == nil {
		return 10
	}
	return int(*n)
}

// nextToken leaves the token out on the last page.
func nextToken(token string) *string {
	if token == "" {
		return nil
	}
	return &token
}
